// When to try again: full jitter, doubling, bounded.
//
// A wait is never longer than CEILING_MS unless the server named it, and a connection that stayed up for FORGIVEN_MS
// starts over.

export const BASE_MS = 1_000;
export const CEILING_MS = 30_000;
export const FORGIVEN_MS = 30_000;
/** The longest wait that a server may ask for. */
export const SERVER_WAIT_MAX_MS = 300_000;

/** A wait between 0 and `base` × 2^`failures`, at most `ceiling`. */
export function jittered(/** @type {number} */ base, /** @type {number} */ failures, /** @type {number} */ unit, ceiling = CEILING_MS) {
  return Math.min(base * 2 ** Math.min(failures, 16), ceiling) * unit;
}

export class Backoff {
  #failures = 0;
  /** @type {?number} */
  #upSince = null;
  #random;

  /** @param {() => number} random evenly from 0 to 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** @param {number} now */
  connected(now) {
    this.#upSince = now;
  }

  /** How long to wait before the next try; `after` is the server's wish, wins, and is no failure. @param {number} now @param {?number} [after] */
  lost(now, after = null) {
    if (this.#upSince !== null && now - this.#upSince >= FORGIVEN_MS) this.#failures = 0;
    this.#upSince = null;
    if (after !== null) return Math.min(after, SERVER_WAIT_MAX_MS);
    const wait = jittered(BASE_MS, this.#failures, this.#random());
    this.#failures += 1;
    return wait;
  }
}
