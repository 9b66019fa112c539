// How far this client has received and read, as it tells the server.
//
// Marks only grow; at most one of a kind is on its way per conversation, and one a second is told.

/** Between two marks of one kind in one conversation. */
export const EVERY_MS = 1_000;

/**
 * @typedef {"delivered" | "read"} Kind
 * @typedef {{kind: Kind, conversation_id: string, want: number, acked: number, inFlight: boolean, notBefore: number}} Entry
 */

export class Receipts {
  /** @type {Map<string, Entry>} */
  #entries = new Map();

  /** @param {Kind} kind @param {string} conversation_id @param {number} seq */
  note(kind, conversation_id, seq) {
    const entry = this.#entry(kind, conversation_id);
    entry.want = Math.max(entry.want, seq);
  }

  /** The server has it already. @param {Kind} kind @param {string} conversation_id @param {number} seq */
  known(kind, conversation_id, seq) {
    const entry = this.#entry(kind, conversation_id);
    entry.acked = Math.max(entry.acked, seq);
    entry.want = Math.max(entry.want, entry.acked);
  }

  /** Marks to tell now; each must end in `told` or `refused`. @param {number} now */
  next(now) {
    const due = [...this.#entries.values()].filter((entry) => isWanted(entry) && entry.notBefore <= now);
    return due.map((entry) => {
      entry.inFlight = true;
      entry.notBefore = now + EVERY_MS;
      return { entry, up_to_seq: entry.want };
    });
  }

  /** @param {Entry} entry @param {number} seq */
  told(entry, seq) {
    entry.inFlight = false;
    entry.acked = Math.max(entry.acked, seq);
  }

  /** @param {Entry} entry @param {import("./protocol.js").RequestError} error @param {number} now */
  refused(entry, error, now) {
    entry.inFlight = false;
    if (error.retryable) entry.notBefore = now + (error.after_ms || EVERY_MS);
    // Somebody who may not mark this conversation is not asked to again, until there is more to mark.
    else entry.acked = entry.want;
  }

  disconnected() {
    for (const entry of this.#entries.values()) entry.inFlight = false;
  }

  /** @param {string} conversation_id */
  forget(conversation_id) {
    for (const kind of ["delivered", "read"]) this.#entries.delete(`${kind} ${conversation_id}`);
  }

  /** When `next` has more; `null`: never, as things are. @returns {?number} */
  due() {
    const wanted = [...this.#entries.values()].filter(isWanted);
    return wanted.length ? Math.min(...wanted.map((entry) => entry.notBefore)) : null;
  }

  /** @param {Kind} kind @param {string} conversation_id */
  #entry(kind, conversation_id) {
    const key = `${kind} ${conversation_id}`;
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = { kind, conversation_id, want: 0, acked: 0, inFlight: false, notBefore: 0 };
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

/** @param {Entry} entry */
const isWanted = (entry) => entry.want > entry.acked && !entry.inFlight;
