// A world without a browser: time that a test moves, a server that a test plays, a storage that is a map.

import { webcrypto } from "node:crypto";

// Node 18 has it under this name only.
globalThis.crypto ??= /** @type {any} */ (webcrypto);

/** @param {number} [start] */
export function fakeWorld(start = 1_000_000) {
  let time = start;
  /** @type {{at: number, then: () => void}[]} */
  let timers = [];
  /** @type {FakeSocket[]} */
  const sockets = [];
  const world = {
    now: () => time,
    random: () => 1,
    /** @param {number} ms @param {() => void} then */
    after(ms, then) {
      const timer = { at: time + ms, then };
      timers.push(timer);
      return () => (timers = timers.filter((other) => other !== timer));
    },
    /** @param {string} url */
    open(url) {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return /** @type {any} */ (socket);
    },
  };
  /** Lets `ms` pass; timers fire in order. @param {number} ms */
  async function pass(ms) {
    const end = time + ms;
    for (;;) {
      await settle();
      const next = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      timers = timers.filter((timer) => timer !== next);
      time = Math.max(time, next.at);
      next.then();
    }
    time = end;
    await settle();
  }
  return { world, sockets, pass, last: () => sockets[sockets.length - 1] };
}

/** Until nothing more follows of what has happened. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

class FakeSocket {
  /** @type {any[]} requests, as the server sees them */
  requests = [];
  closed = false;
  /** @type {(event: any) => void} */
  onmessage = () => {};
  /** @type {(event: any) => void} */
  onclose = () => {};

  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @param {string} text */
  send(text) {
    this.requests.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  // ---- the server's side ----

  /** @param {string} action @param {object} payload */
  async push(action, payload) {
    this.onmessage({ data: JSON.stringify({ type: "push", action, payload }) });
    await settle();
  }

  /** The latest request of this action. @param {string} action */
  asked(action) {
    return this.requests.filter((request) => request.action === action).pop();
  }

  /** @param {string} action @param {object} payload */
  async answer(action, payload, success = true) {
    const { request_id } = this.asked(action);
    this.onmessage({ data: JSON.stringify({ request_id, action, type: "response", success, payload }) });
    await settle();
  }

  /** @param {string} action @param {string} code */
  refuse(action, code, retryable = false, after_ms = 0) {
    return this.answer(action, { error: { code, message: code, retryable, after_ms } }, false);
  }

  /** @param {number} code */
  async end(code, reason = "") {
    this.onclose({ code, reason });
    await settle();
  }

  hello(more = {}) {
    return this.push("hello", { protocol: 1, edge_id: "edge-0", ping_interval_ms: 25_000, limits: { requests_in_flight: 16 }, ...more });
  }
}

export class FakeStorage {
  /** @type {Map<string, string>} */
  #items = new Map();
  /** @param {string} key */
  getItem = (key) => this.#items.get(key) ?? null;
  /** @param {string} key @param {string} value */
  setItem = (key, value) => void this.#items.set(key, value);
  /** @param {string} key */
  removeItem = (key) => void this.#items.delete(key);
}

export const VISITOR = { type: "visitor", id: "v" };
export const AGENT = { type: "agent", id: "a" };

/** @param {number} seq */
export function message(seq, author = AGENT, text = `text ${seq}`, more = {}) {
  return { seq, at: new Date(seq * 1000).toISOString(), kind: "message", id: `e${seq}`, author, data: { text }, ...more };
}

/** @param {number} seq @param {string} status */
export function life(seq, status, kind = status === "closed" ? "closed" : "assigned") {
  const state = { thread_id: "t", status, group_id: "g", assignee_id: "a" };
  return { seq, at: new Date(seq * 1000).toISOString(), kind, id: `e${seq}`, author: { type: "system", id: "s" }, data: { state } };
}

export function conv(more = {}) {
  return {
    id: "c", visitor: { id: "v", name: "Ada", online: true }, thread: { id: "t", status: "active", group_id: "g", assignee_id: "a", queue: null },
    events: [], has_more: false, cursor: "k0", unread: 0, marks: [], ...more,
  };
}

export function loginAnswer(conversations = [conv()], profile = { ...VISITOR, name: "Ada" }) {
  return { profile, session_id: "s", token_expires_at: "2030-01-01T00:00:00.000Z", conversations, people: [{ ...AGENT, name: "Bo" }] };
}
