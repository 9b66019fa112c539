import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../widget/conversation.js";
import { lines } from "../widget/display.js";
import { Store } from "../widget/store.js";
import { Timeline } from "../widget/timeline.js";
import { AGENT, VISITOR, conv, life, loginAnswer, message } from "./fakes.js";

/** @param {Store} store */
const seqs = (store, id = "c") => store.get(id).timeline.events.map((event) => event.seq);
/** @param {any} event */
const push = (event, cursor = `k${event.seq}`, more = {}) => ({ conversation_id: "c", event, cursor, ...more });

test("events are in the order of seq, each id once", () => {
  const timeline = new Timeline();
  for (const seq of [3, 5, 9]) timeline.push(message(seq));
  assert.equal(timeline.push(message(4), true), true);
  assert.equal(timeline.push(message(5)), false);
  timeline.merge([message(1), message(3)]);
  assert.deepEqual(timeline.events.map((event) => event.seq), [1, 3, 4, 5, 9]);
  assert.deepEqual(timeline.counts, { late: 1, disordered: 0, repeated: 1 });
});

test("of two copies the one with the lower seq stays", () => {
  const timeline = new Timeline();
  timeline.push(message(7, AGENT, "twice", { id: "x" }));
  timeline.push(message(9, AGENT, "twice", { id: "x" }));
  timeline.merge([message(5, AGENT, "twice", { id: "x" })]);
  assert.deepEqual(timeline.events.map((event) => event.seq), [5]);
});

test("a list is bounded and says that there is more", () => {
  const timeline = new Timeline(2);
  for (const seq of [1, 2, 3]) timeline.push(message(seq));
  assert.deepEqual(timeline.events.map((event) => event.seq), [2, 3]);
  assert.equal(timeline.hasMore, true);
});

test("only pushes, snapshots and caught_up move the cursor, and it is what resume names", () => {
  const store = new Store();
  store.login(loginAnswer());
  assert.deepEqual(store.resume(), [{ conversation_id: "c", cursor: "k0" }]);
  store.push("event", push(message(1)));
  assert.equal(store.get("c").cursor, "k1");
  store.older("c", { events: [message(0)], has_more: false });
  store.push("signal", { conversation_id: "c", author: AGENT, kind: "typing", on: true, expires_ms: 6000 });
  assert.equal(store.get("c").cursor, "k1");
  store.push("caught_up", { conversation_id: "c", cursor: "k9" });
  assert.equal(store.get("c").cursor, "k9");
});

test("an answer without events leaves the list, and what was missed follows", () => {
  const store = new Store();
  store.login(loginAnswer([conv({ events: [message(1)] })]));
  store.resume();
  const { events, cursor, ...rest } = conv({ has_more: true });
  store.login(loginAnswer([/** @type {any} */ (rest)]));
  assert.equal(store.get("c").caughtUp, false);
  store.push("event", push(message(2)));
  store.push("caught_up", { conversation_id: "c", cursor: "k2" });
  assert.deepEqual(seqs(store), [1, 2]);
  assert.equal(store.get("c").caughtUp, true);
});

test("a reset replaces what was here", () => {
  const store = new Store();
  store.login(loginAnswer([conv({ events: [message(1), message(2)] })]));
  store.resume();
  store.push("reset", { conversation_id: "c", reason: "too_old", conversation: conv({ events: [message(8)], cursor: "k8", has_more: true }) });
  assert.deepEqual(seqs(store), [8]);
  assert.equal(store.get("c").cursor, "k8");
  assert.equal(store.get("c").caughtUp, true);
  assert.equal(store.get("c").timeline.hasMore, true);
});

test("a conversation that is taken away is not resumed, and comes back whole", () => {
  const store = new Store();
  store.login(loginAnswer());
  store.push("conversation_removed", { view: "mine", conversation_id: "c" });
  assert.deepEqual(store.resume(), []);
  store.push("conversation_available", { view: "mine", conversation: conv({ events: [message(5)], cursor: "k5" }) });
  assert.deepEqual(store.resume(), [{ conversation_id: "c", cursor: "k5" }]);
  store.push("conversation_removed", { view: "queue", conversation_id: "c" });
  assert.equal(store.get("c").mine, true);
});

test("a life event counts only if its seq is the highest yet", () => {
  const store = new Store();
  store.login(loginAnswer([conv({ thread: null })]));
  store.push("event", push(life(9, "closed")));
  store.push("event", push(life(7, "active"), "k9", { late: true }));
  assert.equal(store.get("c").thread?.status, "closed");
  assert.deepEqual(seqs(store), [7, 9]);
});

test("marks grow, are no lines, and read means delivered", () => {
  const store = new Store();
  store.login(loginAnswer());
  const mark = (/** @type {number} */ seq, /** @type {string} */ kind, /** @type {number} */ up_to_seq) =>
    store.push("event", push({ ...message(seq), kind, data: { up_to_seq } }));
  mark(20, "read", 10);
  mark(21, "delivered", 12);
  mark(22, "read", 4);
  assert.deepEqual(store.get("c").otherSide(VISITOR), { delivered: 12, read: 10 });
  assert.deepEqual(seqs(store), []);
  assert.equal(store.get("c").cursor, "k22");
});

test("unread is what others said above one's read mark", () => {
  const conversation = new Conversation("c");
  conversation.snapshot(conv({ events: [message(1), message(2, VISITOR), message(3), life(4, "active")], marks: [{ author: VISITOR, delivered: 3, read: 1 }] }));
  assert.equal(conversation.unread(VISITOR), 1);
  assert.equal(conversation.lastOfOthers(VISITOR), 3);
});

test("what was kept goes on where it was", () => {
  const store = new Store();
  store.login(loginAnswer([conv({ events: [message(1), life(2, "active")], cursor: "k2", marks: [{ author: AGENT, delivered: 1, read: 1 }] })]));
  const later = new Store();
  later.restore(JSON.parse(JSON.stringify(store)));
  assert.deepEqual(later.resume(), [{ conversation_id: "c", cursor: "k2" }]);
  assert.deepEqual(seqs(later), [1, 2]);
  assert.equal(later.get("c").thread?.status, "active");
  assert.deepEqual(later.get("c").otherSide(VISITOR), { delivered: 1, read: 1 });
  assert.equal(later.nameOf(AGENT), "Bo");
});

test("edits and deletions show, and ticks say how far a message got", () => {
  const conversation = new Conversation("c");
  conversation.snapshot(conv({
    events: [
      message(1, VISITOR, "frist"), message(2, VISITOR, "oops"), message(3, AGENT, "hello"), message(4, VISITOR, "new"),
      { ...message(5, VISITOR), kind: "message_edited", data: { target_id: "e1", text: "first" } },
      { ...message(6, VISITOR), kind: "message_deleted", data: { target_id: "e2" } },
    ],
    marks: [{ author: AGENT, delivered: 2, read: 1 }],
  }));
  const unsent = /** @type {any[]} */ ([
    { event: { client_id: "x", data: { text: "soon" } }, state: "in_flight", at: 9, seq: 0, error: null },
    { event: { client_id: "y", data: { text: "never" } }, state: "failed", at: 9, seq: 0, error: "too_large" },
  ]);
  const shown = lines(conversation, unsent, VISITOR).map((line) => line.type === "message" && [line.text, line.tick]);
  assert.deepEqual(shown, [
    ["first", "read"], ["", "delivered"], ["hello", null], ["new", "sent"], ["soon", "waiting"], ["never", "failed"],
  ]);
});
