// When a connection counts as slow to greet, quiet, or dead.
//
// A live connection is pinged once after the ping interval without a frame, and dead PONG_WITHIN_MS later.

/** From the open socket to `hello`, and from `login` to its answer. */
export const GREETING_WITHIN_MS = 10_000;
/** From a ping to any frame. */
export const PONG_WITHIN_MS = 10_000;
export const PING_AFTER_MS = 25_000;

export class Liveness {
  #heard;
  #greetBy;
  /** @type {?number} set once the login was answered */
  #interval = null;
  #pinged = false;

  /** @param {number} now */
  constructor(now) {
    this.#heard = now;
    this.#greetBy = now + GREETING_WITHIN_MS;
  }

  /** `hello` came and `login` went out. @param {number} now */
  greeted(now) {
    this.#greetBy = now + GREETING_WITHIN_MS;
  }

  /** The login was answered. @param {number} interval */
  live(interval = PING_AFTER_MS) {
    this.#interval = interval;
  }

  /** A frame came. @param {number} now */
  heard(now) {
    this.#heard = now;
    this.#pinged = false;
  }

  /** When `fired` must be asked again. */
  due() {
    if (this.#interval === null) return this.#greetBy;
    return this.#heard + this.#interval + (this.#pinged ? PONG_WITHIN_MS : 0);
  }

  /** What a timer that fired means. @param {number} now @returns {"nothing" | "ping" | "dead"} */
  fired(now) {
    if (now < this.due()) return "nothing";
    if (this.#interval === null || this.#pinged) return "dead";
    this.#pinged = true;
    // Timers of a page in the background, or of a laptop that slept, fire late: the answer still gets its time.
    this.#heard = Math.max(this.#heard, now - this.#interval);
    return "ping";
  }
}
