// What a client knows: its conversations, and who the people in them are.
//
// After each push it shows what the log holds up to that push, or was told by `reset` or `conversation_removed`.

import { Conversation } from "./conversation.js";
import { keyOf } from "./protocol.js";

/** Conversations that a client holds. */
export const CONVERSATIONS_MAX = 500;
/** Names of conversations in one login. */
const RESUME_MAX = 100;
/** People whose names are kept. */
const PEOPLE_MAX = 1_000;

/**
 * @typedef {import("./protocol.js").Author} Author
 * @typedef {import("./protocol.js").Conv} Conv
 * @typedef {import("./protocol.js").Event} Event
 */

export class Store {
  /** @type {Map<string, Conversation>} */
  conversations = new Map();
  /** @type {Map<string, import("./protocol.js").Person>} */
  people = new Map();
  /** @type {?import("./protocol.js").Profile} */
  me = null;
  counts = { resets: 0, resumed: 0 };

  /** Where to go on; from here on these conversations are behind. @returns {import("./protocol.js").Resume[]} */
  resume() {
    const named = [];
    for (const conversation of this.conversations.values()) {
      if (!conversation.mine || conversation.cursor === null || named.length === RESUME_MAX) continue;
      conversation.caughtUp = false;
      named.push({ conversation_id: conversation.id, cursor: conversation.cursor });
    }
    return named;
  }

  /** @param {import("./protocol.js").LoginAnswer} answer @returns {Event[]} what came with it */
  login(answer) {
    this.me = answer.profile;
    this.#meet(answer.people);
    return answer.conversations.flatMap((conv) => this.snapshot(conv));
  }

  /** A conversation as the server sees it. @param {Conv} conv @returns {Event[]} its events */
  snapshot(conv) {
    this.get(conv.id).snapshot(conv);
    return conv.events ?? [];
  }

  /** A page of older events. @param {string} id @param {{events: Event[], has_more: boolean}} page */
  older(id, page) {
    const { timeline } = this.get(id);
    timeline.merge(page.events);
    timeline.hasMore = page.has_more;
  }

  /**
   * A push. Returns the events that are new here, with their conversation.
   * @param {string} action @param {any} payload @returns {Event[]}
   */
  push(action, payload) {
    this.#meet(payload?.people);
    switch (action) {
      case "event": {
        /** @type {import("./protocol.js").EventPush} */
        const push = payload;
        return this.get(push.conversation_id).push(push.event, push.cursor, push.late) ? [push.event] : [];
      }
      case "caught_up": {
        const conversation = this.get(payload.conversation_id);
        conversation.cursor = payload.cursor;
        conversation.caughtUp = true;
        this.counts.resumed += 1;
        return [];
      }
      case "reset":
        this.counts.resets += 1;
        return this.snapshot(payload.conversation);
      case "conversation_available":
      case "conversation_updated":
        return payload.view === "mine" && payload.conversation.events ? this.snapshot(payload.conversation) : [];
      case "conversation_removed":
        if (payload.view === "mine") this.#removed(payload.conversation_id);
        return [];
      case "queue_position":
        this.get(payload.conversation_id).waits({ position: payload.position, wait_s: payload.wait_s ?? null });
        return [];
      default:
        return [];
    }
  }

  /** @param {string} id */
  get(id) {
    let conversation = this.conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(id);
      if (this.conversations.size >= CONVERSATIONS_MAX) this.#forgetOne();
      this.conversations.set(id, conversation);
    }
    return conversation;
  }

  /** @param {Author} author */
  nameOf(author) {
    return this.people.get(keyOf(author))?.name ?? null;
  }

  /** @param {string} id */
  #removed(id) {
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    conversation.mine = false;
    conversation.cursor = null;
    conversation.caughtUp = true;
  }

  /** One that is not the caller's any more, else the one that came first. */
  #forgetOne() {
    const all = [...this.conversations.values()];
    this.conversations.delete((all.find((conversation) => !conversation.mine) ?? all[0]).id);
  }

  /** @param {import("./protocol.js").Person[] | undefined} people */
  #meet(people) {
    for (const person of people ?? []) {
      if (this.people.size >= PEOPLE_MAX) this.people.delete(/** @type {string} */ (this.people.keys().next().value));
      this.people.set(keyOf(person), person);
    }
  }

  toJSON() {
    const own = [...this.conversations.values()].filter((conversation) => conversation.mine);
    return { conversations: own.slice(-KEPT_CONVERSATIONS), people: [...this.people.values()] };
  }

  /** @param {any} kept what `toJSON` made, of this version */
  restore(kept) {
    for (const one of kept.conversations) this.conversations.set(one.id, Conversation.from(one));
    this.#meet(kept.people);
  }
}

/** Conversations that outlive the page. */
const KEPT_CONVERSATIONS = 20;
