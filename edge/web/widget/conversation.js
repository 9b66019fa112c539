// One conversation as a client holds it.
//
// Its cursor is moved by pushes, snapshots and `caught_up` alone, and never passes an event that is not in the list.

import { CONTENT, MARKS, isSame, keyOf, threadAfter } from "./protocol.js";
import { Timeline } from "./timeline.js";

/**
 * @typedef {import("./protocol.js").Author} Author
 * @typedef {import("./protocol.js").Conv} Conv
 * @typedef {import("./protocol.js").Event} Event
 * @typedef {import("./protocol.js").Mark} Mark
 */

export class Conversation {
  timeline = new Timeline();
  /** @type {?string} */
  cursor = null;
  caughtUp = true;
  /** Still the caller's own. */
  mine = true;
  /** @type {?import("./protocol.js").Visitor} */
  visitor = null;
  /** @type {?import("./protocol.js").Thread} */
  thread = null;
  /** @type {Map<string, Mark>} */
  marks = new Map();
  /** How far the person has seen it here, whether the server knows or not. */
  seen = 0;
  /** The sequence that `thread` is of. */
  #threadSeq = 0;

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** As the server sees it: with events it replaces what is here; without, pushes follow. @param {Conv} conv */
  snapshot(conv) {
    this.mine = true;
    this.visitor = conv.visitor;
    for (const mark of conv.marks) this.#mark(mark.author, mark.delivered, mark.read);
    if (!conv.events) {
      this.thread ??= conv.thread;
      return false;
    }
    this.timeline.replace(conv.events, conv.has_more);
    this.cursor = conv.cursor ?? null;
    this.thread = conv.thread;
    this.#threadSeq = this.timeline.lastSeq;
    this.caughtUp = true;
    return true;
  }

  /** A pushed event; false if it was here already. @param {Event} event @param {string} cursor */
  push(event, cursor, late = false) {
    const isNew = this.#take(event, late);
    this.cursor = cursor;
    return isNew;
  }

  /** @param {Event} event @param {boolean} late */
  #take(event, late) {
    if (MARKS.has(event.kind)) {
      const upTo = Number(event.data?.up_to_seq) || 0;
      this.#mark(event.author, upTo, event.kind === "read" ? upTo : 0);
      this.timeline.passed(event.seq);
      return false;
    }
    const isNew = this.timeline.push(event, late);
    const thread = event.seq > this.#threadSeq ? threadAfter(event) : null;
    if (thread) {
      this.thread = thread;
      this.#threadSeq = event.seq;
    }
    return isNew;
  }

  /** @param {?{position: number, wait_s: ?number}} queue */
  waits(queue) {
    if (this.thread) this.thread = { ...this.thread, queue };
  }

  /** What was read is delivered. @param {Author} author @param {number} delivered @param {number} read */
  #mark(author, delivered, read) {
    const known = this.marks.get(keyOf(author));
    const grown = Math.max(read, known?.read ?? 0);
    this.marks.set(keyOf(author), { author, delivered: Math.max(delivered, known?.delivered ?? 0, grown), read: grown });
  }

  /** How far the other side of `me` is: visitor and staff are each other's. @param {Author} me */
  otherSide(me) {
    const far = { delivered: 0, read: 0 };
    for (const { author, delivered, read } of this.marks.values()) {
      if ((author.type === "visitor") === (me.type === "visitor")) continue;
      far.delivered = Math.max(far.delivered, delivered);
      far.read = Math.max(far.read, read);
    }
    return far;
  }

  /** The last that somebody else said; 0 if nobody did. @param {Author} me */
  lastOfOthers(me) {
    const events = this.timeline.events;
    for (let at = events.length - 1; at >= 0; at -= 1) {
      if (CONTENT.has(events[at].kind) && !isSame(events[at].author, me)) return events[at].seq;
    }
    return 0;
  }

  /** What others said above what `me` has read, here or elsewhere. @param {Author} me */
  unread(me) {
    const read = Math.max(this.seen, this.marks.get(keyOf(me))?.read ?? 0);
    return this.timeline.events.filter(
      (event) => event.seq > read && CONTENT.has(event.kind) && !isSame(event.author, me),
    ).length;
  }

  /** What a later page load needs to go on; events and cursor belong together. */
  toJSON() {
    return {
      id: this.id, cursor: this.cursor, thread: this.thread, threadSeq: this.#threadSeq, visitor: this.visitor,
      events: this.timeline.events.slice(-KEPT_EVENTS), lastSeq: this.timeline.lastSeq,
      hasMore: this.timeline.hasMore || this.timeline.events.length > KEPT_EVENTS, marks: [...this.marks.values()],
    };
  }

  /** @param {any} kept what `toJSON` made @returns {Conversation} */
  static from(kept) {
    const conversation = new Conversation(kept.id);
    conversation.timeline.replace(kept.events, kept.hasMore);
    conversation.timeline.passed(kept.lastSeq);
    conversation.cursor = kept.cursor;
    conversation.visitor = kept.visitor;
    conversation.thread = kept.thread;
    conversation.#threadSeq = kept.threadSeq;
    for (const mark of kept.marks) conversation.#mark(mark.author, mark.delivered, mark.read);
    return conversation;
  }
}

/** Events that outlive the page; the newest. */
const KEPT_EVENTS = 200;
