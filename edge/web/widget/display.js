// From events to what a person reads: edits and deletions applied, and how far an own message got.

import { isSame } from "./protocol.js";

/**
 * @typedef {"waiting" | "sent" | "delivered" | "read" | "failed"} Tick
 * @typedef {{type: "message", key: string, seq: number, at: number, author: ?import("./protocol.js").Author, isOwn: boolean,
 *   text: string, edited: boolean, deleted: boolean, tick: ?Tick, error: ?string}} MessageLine
 * @typedef {{type: "note", key: string, seq: number, at: number, kind: string, data: any}} NoteLine
 */

/** Life events that people are told of. */
const TOLD = new Set(["started", "queued", "assigned", "transferred", "joined", "left", "agent_lost", "closed", "reopened"]);

/**
 * The lines of a conversation, and after them what is not in it yet.
 * @param {?import("./conversation.js").Conversation} conversation
 * @param {import("./outbox.js").Item[]} unsent
 * @param {?import("./protocol.js").Author} me
 * @returns {(MessageLine | NoteLine)[]}
 */
export function lines(conversation, unsent, me) {
  const events = conversation?.timeline.events ?? [];
  const far = conversation && me ? conversation.otherSide(me) : { delivered: 0, read: 0 };
  /** @type {Map<string, string>} */
  const edits = new Map();
  const deleted = new Set();
  for (const { kind, data } of events) {
    if (kind === "message_edited") edits.set(data.target_id, data.text);
    if (kind === "message_deleted") deleted.add(data.target_id);
  }
  /** @type {(MessageLine | NoteLine)[]} */
  const shown = [];
  for (const { id, seq, at, kind, author, data } of events) {
    if (kind === "message") {
      const isOwn = isSame(author, me);
      shown.push({
        type: "message", key: id, seq, at: Date.parse(at), author, isOwn,
        text: deleted.has(id) ? "" : (edits.get(id) ?? data.text),
        edited: edits.has(id), deleted: deleted.has(id), tick: isOwn ? tickOf(seq, far) : null, error: null,
      });
    } else if (TOLD.has(kind)) {
      shown.push({ type: "note", key: id, seq, at: Date.parse(at), kind, data });
    }
  }
  for (const { event, state, at, error, seq } of unsent) {
    /** @type {Tick} */
    const tick = state === "failed" ? "failed" : state === "sent" ? "sent" : "waiting";
    shown.push({
      type: "message", key: event.client_id, seq, at, author: me, isOwn: true, text: event.data.text,
      edited: false, deleted: false, tick, error,
    });
  }
  return shown;
}

/** @param {number} seq @param {{delivered: number, read: number}} far @returns {Tick} */
function tickOf(seq, far) {
  if (far.read >= seq) return "read";
  return far.delivered >= seq ? "delivered" : "sent";
}
