// The events of one conversation.
//
// They are in the order of `seq`, each id once; of two copies the one with the lower `seq` stays.

/** @typedef {import("./protocol.js").Event} Event */

/** Events that are kept; the newest. */
export const KEEP = 1_000;

export class Timeline {
  /** @type {Event[]} */
  #events = [];
  /** @type {Map<string, number>} seq by id */
  #seqs = new Map();
  #keep;
  /** The highest sequence ever seen, also of events that are not kept. */
  lastSeq = 0;
  /** There are older ones. */
  hasMore = false;
  /** How often each thing happened that needs explaining. */
  counts = { late: 0, disordered: 0, repeated: 0 };

  constructor(keep = KEEP) {
    this.#keep = keep;
  }

  /** @returns {readonly Event[]} */
  get events() {
    return this.#events;
  }

  /** @param {number} seq an event that was seen but is not kept here */
  passed(seq) {
    this.lastSeq = Math.max(this.lastSeq, seq);
  }

  /** A pushed event; false if it was there. @param {Event} event */
  push(event, late = false) {
    const inOrder = event.seq > this.lastSeq;
    const isNew = this.#insert(event);
    if (!isNew) this.counts.repeated += 1;
    else if (!inOrder) this.counts[late ? "late" : "disordered"] += 1;
    return isNew;
  }

  /** A snapshot: what was here is gone. @param {Event[]} events */
  replace(events, hasMore = false) {
    this.#events = [];
    this.#seqs.clear();
    this.lastSeq = 0;
    this.hasMore = hasMore;
    this.merge(events);
  }

  /** A page, which may overlap with what is here. @param {Event[]} events */
  merge(events) {
    for (const event of events) this.#insert(event);
  }

  /** @param {Event} event */
  #insert(event) {
    this.passed(event.seq);
    const known = this.#seqs.get(event.id);
    if (known !== undefined && known <= event.seq) return false;
    if (known !== undefined) this.#events = this.#events.filter((kept) => kept.id !== event.id);
    this.#seqs.set(event.id, event.seq);
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1].seq > event.seq) at -= 1;
    this.#events.splice(at, 0, event);
    if (this.#events.length > this.#keep) {
      const oldest = /** @type {Event} */ (this.#events.shift());
      this.#seqs.delete(oldest.id);
      this.hasMore = true;
    }
    return known === undefined;
  }
}
