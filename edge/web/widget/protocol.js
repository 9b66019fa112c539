// The words of the protocol: the parts of its frames that this client reads, and what follows from them.
//
// Fields, kinds and actions that are not named here are ignored, so that a newer server is understood.

export const PROTOCOL = 1;

/** What counts as unread, and never follows the close of its thread. */
export const CONTENT = new Set(["message", "rich_message", "file", "form"]);

/** Kinds that carry how the conversation stands after them. */
const LIFE = new Set([
  "started", "queued", "assigned", "transferred", "joined", "left", "agent_lost", "idle", "closed", "reopened",
]);

export const MARKS = new Set(["delivered", "read"]);

/**
 * @typedef {{type: string, id: string}} Author
 * @typedef {{id: string, status: string, group_id: ?string, assignee_id: ?string, queue?: ?{position: number, wait_s: ?number}}} Thread
 * @typedef {{seq: number, at: string, kind: string, id: string, author: Author, client_id?: string,
 *   thread_id?: string, visibility?: string, data: any}} Event
 * @typedef {{author: Author, delivered: number, read: number}} Mark
 * @typedef {{id: string, name: ?string, online: boolean}} Visitor
 * @typedef {{id: string, visitor: Visitor, thread: ?Thread, events?: Event[], has_more: boolean, cursor?: string,
 *   unread: number, marks: Mark[]}} Conv
 * @typedef {{type: string, id: string, name: ?string, avatar_url?: ?string, job_title?: string}} Person
 * @typedef {{conversation_id: string, event: Event, cursor: string, late?: boolean, people?: Person[]}} EventPush
 * @typedef {{conversation_id: string, cursor: string}} Resume
 * @typedef {{type: string, id: string, name: ?string, role?: string, status?: string}} Profile
 * @typedef {{profile: Profile, session_id: string, token_expires_at: string, conversations: Conv[], people: Person[]}} LoginAnswer
 * @typedef {{protocol: number, edge_id: string, ping_interval_ms: number, limits: Record<string, number>}} Hello
 * @typedef {{conversation_id: string, author: Author, kind: string, on?: boolean, text?: string, expires_ms: number}} Signal
 * @typedef {{code: string, message: string, retryable: boolean, after_ms: number}} ErrorBody
 */

/** A key for one person. @param {Author} author */
export const keyOf = (author) => `${author.type}:${author.id}`;

/** @param {Author} a @param {?Author} b */
export const isSame = (a, b) => b !== null && a.type === b.type && a.id === b.id;

/** @param {?Thread | undefined} thread */
export const isOpen = (thread) => Boolean(thread) && thread?.status !== "closed";

/** The thread after a life event; `null` for any other. @param {Event} event @returns {?Thread} */
export function threadAfter(event) {
  const state = LIFE.has(event.kind) ? event.data?.state : null;
  if (!state) return null;
  return { id: state.thread_id, status: state.status, group_id: state.group_id, assignee_id: state.assignee_id, queue: null };
}

/** A request that was refused, lost, or never sent. */
export class RequestError extends Error {
  /** @param {Partial<ErrorBody> & {code: string}} body */
  constructor(body) {
    super(body.message || body.code);
    this.name = "RequestError";
    this.code = body.code;
    this.retryable = body.retryable ?? false;
    this.after_ms = body.after_ms ?? 0;
  }
}
