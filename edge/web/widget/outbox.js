// What a client has promised to send.
//
// An item leaves only when it came back in the list, when it is known to be stored, or when its writer discards it;
// the items of a line (a conversation) go out one at a time, in order. A send that is repeated says so.

import { jittered } from "./backoff.js";

export const ITEMS_MAX = 200;
/** Characters of all items together. */
export const CHARS_MAX = 1024 * 1024;
/** The first repeat of a send that was refused for a while comes within this time. */
const RETRY_MS = 400;
const RETRY_MAX_MS = 5_000;

/**
 * @typedef {{kind: string, client_id: string, visibility?: string, data: any}} Draft
 * @typedef {{line: string, event: Draft, at: number, state: "waiting" | "in_flight" | "sent" | "failed", tries: number,
 *   notBefore: number, error: ?string, seq: number}} Item
 */

/** The outbox is at its bound. */
export class OutboxFull extends Error {}

export class Outbox {
  /** @type {Item[]} in the order in which they were written */
  #items = [];
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** @returns {readonly Item[]} */
  get items() {
    return this.#items;
  }

  /** @param {string} line @param {Draft} event @param {number} now */
  add(line, event, now) {
    const chars = this.#items.reduce((sum, item) => sum + size(item.event), size(event));
    if (this.#items.length >= ITEMS_MAX || chars > CHARS_MAX) throw new OutboxFull("the outbox is full");
    /** @type {Item} */
    const item = { line, event, at: now, state: "waiting", tries: 0, notBefore: 0, error: null, seq: 0 };
    this.#items.push(item);
    return item;
  }

  /** The next item of each line that may go out, marked as on its way. @param {number} now @param {(line: string) => boolean} isReady */
  next(now, isReady) {
    const busy = new Set();
    const out = [];
    for (const item of this.#items) {
      if (item.state === "sent" || item.state === "failed" || busy.has(item.line)) continue;
      busy.add(item.line);
      if (item.state === "in_flight" || item.notBefore > now || !isReady(item.line)) continue;
      item.state = "in_flight";
      item.tries += 1;
      out.push({ item, retry: item.tries > 1 });
    }
    return out;
  }

  /** The answer said that it is stored; it stays until the list has it. @param {Item} item @param {number} seq */
  stored(item, seq) {
    if (this.#items.includes(item)) Object.assign(item, { state: "sent", seq });
  }

  /** It came back in the list: whatever the answer will be, it is stored. @param {string} clientId */
  seen(clientId) {
    this.discard(clientId);
  }

  /** The answer said no: for good, or for a while, and the line waits with it. @param {Item} item @param {import("./protocol.js").RequestError} error @param {number} now */
  refused(item, error, now) {
    if (item.state !== "in_flight") return;
    if (error.retryable) {
      const wait = error.after_ms || jittered(RETRY_MS, item.tries - 1, this.#random(), RETRY_MAX_MS);
      Object.assign(item, { state: "waiting", notBefore: now + wait });
    } else {
      Object.assign(item, { state: "failed", error: error.code });
    }
  }

  /** The connection is gone: what was on its way is not known to have arrived. */
  disconnected() {
    for (const item of this.#items) {
      if (item.state === "in_flight") Object.assign(item, { state: "waiting", notBefore: 0 });
    }
  }

  /** The list has all that was stored before: what is stored and not in it is above what the list shows. @param {string} line */
  caughtUp(line) {
    this.#items = this.#items.filter((item) => item.state !== "sent" || item.line !== line);
  }

  /** Items of a line whose conversation became known. @param {string} line @param {string} to */
  rename(line, to) {
    for (const item of this.#items) if (item.line === line) item.line = to;
  }

  /** Tries a failed item again, behind the others. @param {string} clientId */
  retry(clientId) {
    const item = this.#items.find((item) => item.event.client_id === clientId && item.state === "failed");
    if (!item) return;
    Object.assign(item, { state: "waiting", error: null, notBefore: 0 });
    this.#items = [...this.#items.filter((other) => other !== item), item];
  }

  /** @param {string} clientId */
  discard(clientId) {
    this.#items = this.#items.filter((item) => item.event.client_id !== clientId);
  }

  /** When `next` may have more than now; `null`: nothing waits for a time. @param {number} now @returns {?number} */
  due(now) {
    const times = this.#items.filter((item) => item.state === "waiting" && item.notBefore > now);
    return times.length ? Math.min(...times.map((item) => item.notBefore)) : null;
  }

  toJSON() {
    return this.#items.filter((item) => item.state !== "sent");
  }

  /** @param {Item[]} kept what `toJSON` made */
  restore(kept) {
    // What was on its way when the page went may have arrived: its next try says that it is one.
    this.#items = kept.slice(0, ITEMS_MAX);
    this.disconnected();
  }
}

/** @param {Draft} event */
const size = (event) => JSON.stringify(event).length;
