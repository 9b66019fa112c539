import assert from "node:assert/strict";
import { test } from "node:test";

import { ITEMS_MAX, Outbox, OutboxFull } from "../widget/outbox.js";
import { RequestError } from "../widget/protocol.js";
import { EVERY_MS, Receipts } from "../widget/receipts.js";
import { Heard, Said } from "../widget/typing.js";
import { AGENT, VISITOR } from "./fakes.js";

const draft = (/** @type {string} */ client_id) => ({ kind: "message", client_id, data: { text: client_id } });
const always = () => true;
const ids = (/** @type {any[]} */ out) => out.map(({ item, retry }) => item.event.client_id + (retry ? " again" : ""));
const later = new RequestError({ code: "unavailable", retryable: true, after_ms: 500 });

test("the items of a line go out one at a time, in order; lines do not wait for each other", () => {
  const outbox = new Outbox(() => 1);
  for (const id of ["1", "2"]) outbox.add("c", draft(id), 0);
  outbox.add("d", draft("3"), 0);
  const first = outbox.next(0, always);
  assert.deepEqual(ids(first), ["1", "3"]);
  assert.deepEqual(ids(outbox.next(0, always)), []);
  outbox.stored(first[0].item, 7);
  assert.deepEqual(ids(outbox.next(0, always)), ["2"]);
});

test("what was on its way when the connection went is sent again, and says so", () => {
  const outbox = new Outbox(() => 1);
  for (const id of ["1", "2"]) outbox.add("c", draft(id), 0);
  outbox.next(0, always);
  outbox.disconnected();
  assert.deepEqual(ids(outbox.next(0, () => false)), [], "a conversation that has not caught up sends nothing");
  assert.deepEqual(ids(outbox.next(0, always)), ["1 again"]);
});

test("what came back in the list is not sent again", () => {
  const outbox = new Outbox(() => 1);
  for (const id of ["1", "2"]) outbox.add("c", draft(id), 0);
  outbox.next(0, always);
  outbox.disconnected();
  outbox.seen("1");
  assert.deepEqual(ids(outbox.next(0, always)), ["2"]);
});

test("a refusal for a while holds the line; one for good shows its code and lets the others pass", () => {
  const outbox = new Outbox(() => 1);
  for (const id of ["1", "2"]) outbox.add("c", draft(id), 0);
  const [{ item }] = outbox.next(0, always);
  outbox.refused(item, later, 100);
  assert.deepEqual(ids(outbox.next(599, always)), []);
  assert.equal(outbox.due(100), 600);
  assert.deepEqual(ids(outbox.next(600, always)), ["1 again"]);
  outbox.refused(item, new RequestError({ code: "too_large" }), 600);
  assert.deepEqual([item.state, item.error], ["failed", "too_large"]);
  assert.deepEqual(ids(outbox.next(600, always)), ["2"]);
  outbox.retry("1");
  assert.deepEqual(outbox.items.map((item) => item.event.client_id), ["2", "1"]);
});

test("what is stored stays until the list has it", () => {
  const outbox = new Outbox(() => 1);
  outbox.add("c", draft("1"), 0);
  const [{ item }] = outbox.next(0, always);
  outbox.stored(item, 7);
  assert.equal(outbox.items.length, 1);
  outbox.caughtUp("d");
  assert.equal(outbox.items.length, 1);
  outbox.caughtUp("c");
  assert.equal(outbox.items.length, 0);
});

test("an outbox is bounded, and outlives the page", () => {
  const outbox = new Outbox(() => 1);
  for (let n = 0; n < ITEMS_MAX; n += 1) outbox.add("c", draft(String(n)), 0);
  assert.throws(() => outbox.add("c", draft("one more"), 0), OutboxFull);
  outbox.next(0, always);
  const next = new Outbox(() => 1);
  next.restore(JSON.parse(JSON.stringify(outbox)));
  assert.deepEqual(ids(next.next(0, always)), ["0 again"]);
});

test("marks are coalesced and only grow", () => {
  const receipts = new Receipts();
  receipts.note("read", "c", 5);
  const [{ entry, up_to_seq }] = receipts.next(0);
  assert.equal(up_to_seq, 5);
  receipts.note("read", "c", 8);
  receipts.note("read", "c", 7);
  assert.deepEqual(receipts.next(0), [], "one at a time");
  receipts.told(entry, 5);
  assert.deepEqual(receipts.next(EVERY_MS - 1), [], "one a second");
  assert.equal(receipts.due(), EVERY_MS);
  assert.equal(receipts.next(EVERY_MS)[0].up_to_seq, 8);
});

test("a mark that was lost is told again; one that the server has is not", () => {
  const receipts = new Receipts();
  receipts.note("delivered", "c", 5);
  receipts.next(0);
  receipts.disconnected();
  const [{ entry }] = receipts.next(EVERY_MS);
  receipts.refused(entry, later, EVERY_MS);
  assert.equal(receipts.due(), EVERY_MS + 500);
  receipts.known("delivered", "c", 5);
  assert.equal(receipts.due(), null);
});

test("typing is said, repeated, and ended by a pause or the message", () => {
  const said = new Said();
  assert.equal(said.next(0), null);
  said.typed("h", 0);
  assert.equal(said.next(0), true);
  said.typed("h", 3_000);
  assert.equal(said.next(3_999), null);
  assert.equal(said.next(4_000), true);
  assert.equal(said.due(false), 8_000);
  assert.equal(said.next(8_000), false);
  said.typed("h", 9_000);
  said.next(9_000);
  said.sent();
  assert.equal(said.next(9_100), null, "a message ends it without a word");
});

test("a preview is shown when it changed, once a second, and again to a new connection", () => {
  const said = new Said();
  said.typed("h", 0);
  assert.equal(said.preview(0), null, "typing is said first");
  said.next(0);
  assert.equal(said.preview(0), "h");
  said.typed("he", 200);
  assert.equal(said.preview(999), null);
  assert.equal(said.due(true), 1_000);
  assert.equal(said.preview(1_000), "he");
  assert.equal(said.preview(2_500), null, "nothing new");
  said.disconnected();
  said.next(3_000);
  assert.equal(said.preview(3_000), "he");
  said.typed("", 4_100);
  assert.equal(said.next(4_100), false, "an empty field is no preview: typing ends it");
  assert.equal(said.preview(4_100), null);
});

test("others' typing ends with a message, a stop, or its expiry", () => {
  const heard = new Heard();
  const signal = { conversation_id: "c", author: AGENT, kind: "typing", on: true, expires_ms: 6_000 };
  heard.signal(signal, 0);
  assert.equal(heard.in("c", 5_999).length, 1);
  assert.equal(heard.in("d", 0).length, 0);
  assert.equal(heard.due(0), 6_000);
  assert.equal(heard.in("c", 6_000).length, 0);
  heard.signal(signal, 0);
  heard.ended("c", AGENT);
  assert.equal(heard.in("c", 0).length, 0);
  heard.signal({ ...signal, kind: "preview", on: undefined, text: "I wo", author: VISITOR }, 0);
  assert.equal(heard.in("c", 0)[0].text, "I wo");
  heard.signal({ ...signal, on: false, author: VISITOR }, 0);
  assert.equal(heard.in("c", 0).length, 0);
});
