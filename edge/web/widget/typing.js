// Who is typing: what this client says of itself, and what it heard of others.
//
// Said again every 4 s while it is true, and heard until a message, an end, or its expiry: a lost "stopped" ends by
// itself.

import { keyOf } from "./protocol.js";

const REPEAT_MS = 4_000;
/** Between two previews: more are not passed on. */
const PREVIEW_EVERY_MS = 1_000;
/** Without a key for so long, one has stopped. */
const PAUSE_MS = 5_000;
const EXPIRES_MS = 6_000;
/** Signals of others that are kept. */
const HEARD_MAX = 500;

/** What this client's person types, in one conversation. */
export class Said {
  #input = -Infinity;
  #told = -Infinity;
  #on = false;
  #text = "";
  #shown = "";
  #shownAt = -Infinity;

  /** The person changed the text. @param {string} text @param {number} now */
  typed(text, now) {
    this.#text = text;
    this.#input = text === "" ? -Infinity : now;
  }

  /** The text was sent: the message itself ends it. */
  sent() {
    this.#input = -Infinity;
    this.#on = false;
    this.#text = this.#shown = "";
  }

  /** What to tell now, if anything. @param {number} now @returns {?boolean} */
  next(now) {
    const typing = now - this.#input < PAUSE_MS;
    if (typing === this.#on && !(typing && now - this.#told >= REPEAT_MS)) return null;
    this.#on = typing;
    this.#told = now;
    return typing;
  }

  /** What is written and not yet sent, to show it now, if it changed. Its end is told by `next`. @param {number} now @returns {?string} */
  preview(now) {
    if (!this.#isUnshown() || now < this.#shownAt + PREVIEW_EVERY_MS) return null;
    this.#shown = this.#text;
    this.#shownAt = now;
    return this.#text;
  }

  #isUnshown() {
    return this.#on && this.#text !== "" && this.#text !== this.#shown;
  }

  /** A new connection has told nobody. */
  disconnected() {
    this.#on = false;
    this.#shown = "";
  }

  /** When `next` has more, or `preview` where it is asked; `null`: when something is typed. @param {boolean} previews @returns {?number} */
  due(previews) {
    if (!this.#on) return this.#input === -Infinity ? null : this.#input;
    const due = Math.min(this.#told + REPEAT_MS, this.#input + PAUSE_MS);
    return previews && this.#isUnshown() ? Math.min(due, this.#shownAt + PREVIEW_EVERY_MS) : due;
  }
}

/** What others type. */
export class Heard {
  /** @type {Map<string, {conversation: string, author: import("./protocol.js").Author, until: number, text: ?string}>} */
  #typing = new Map();

  /** @param {import("./protocol.js").Signal} signal @param {number} now */
  signal(signal, now) {
    const key = keyIn(signal.conversation_id, signal.author);
    if (signal.on === false || signal.text === "") {
      this.#typing.delete(key);
    } else if (signal.kind === "typing" || signal.kind === "preview") {
      if (this.#typing.size >= HEARD_MAX) this.#typing.clear();
      const text = signal.text ?? this.#typing.get(key)?.text ?? null;
      const until = now + (signal.expires_ms || EXPIRES_MS);
      this.#typing.set(key, { conversation: signal.conversation_id, author: signal.author, until, text });
    }
  }

  /** A message ends it. @param {string} conversation @param {import("./protocol.js").Author} author */
  ended(conversation, author) {
    this.#typing.delete(keyIn(conversation, author));
  }

  /** @param {string} conversation @param {number} now */
  in(conversation, now) {
    return [...this.#typing.values()].filter((one) => one.conversation === conversation && one.until > now);
  }

  /** Forgets what has expired, and says when the next does. @param {number} now @returns {?number} */
  due(now) {
    for (const [key, { until }] of this.#typing) if (until <= now) this.#typing.delete(key);
    return this.#typing.size ? Math.min(...[...this.#typing.values()].map((one) => one.until)) : null;
  }
}

/** @param {string} conversation @param {import("./protocol.js").Author} author */
const keyIn = (conversation, author) => `${conversation} ${keyOf(author)}`;
