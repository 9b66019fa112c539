import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, FORGIVEN_MS, SERVER_WAIT_MAX_MS } from "../widget/backoff.js";
import { Liveness, PONG_WITHIN_MS } from "../widget/liveness.js";
import { ofClose, ofClosing, ofRefusal } from "../widget/verdict.js";

test("waits double up to the ceiling, with full jitter", () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual([...Array(7)].map(() => longest.lost(0)), [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.equal(new Backoff(() => 0).lost(0), 0);
});

test("the server's wait wins and is bounded", () => {
  const backoff = new Backoff(() => 1);
  assert.equal(backoff.lost(0, 7000), 7000);
  assert.equal(backoff.lost(0, 1e9), SERVER_WAIT_MAX_MS);
  assert.equal(backoff.lost(0), 1000, "what the server wished for was no failure");
});

test("only a connection that stayed up starts over", () => {
  const backoff = new Backoff(() => 1);
  backoff.lost(0);
  backoff.connected(0);
  assert.equal(backoff.lost(FORGIVEN_MS - 1), 2000);
  backoff.connected(0);
  assert.equal(backoff.lost(FORGIVEN_MS), 1000);
});

test("a quiet connection is pinged once and then dead", () => {
  const liveness = new Liveness(0);
  liveness.live(25_000);
  assert.equal(liveness.fired(24_999), "nothing");
  assert.equal(liveness.fired(25_000), "ping");
  assert.equal(liveness.fired(25_000), "nothing");
  assert.equal(liveness.fired(25_000 + PONG_WITHIN_MS), "dead");
});

test("any frame shows life", () => {
  const liveness = new Liveness(0);
  liveness.live(25_000);
  liveness.fired(25_000);
  liveness.heard(34_000);
  assert.equal(liveness.fired(35_000), "nothing");
  assert.equal(liveness.due(), 59_000);
});

test("a ping that was sent late still gets its time", () => {
  const liveness = new Liveness(0);
  liveness.live(25_000);
  assert.equal(liveness.fired(90_000), "ping");
  assert.equal(liveness.fired(90_001), "nothing");
  assert.equal(liveness.due(), 90_000 + PONG_WITHIN_MS);
});

test("a server that does not greet is left", () => {
  const liveness = new Liveness(0);
  assert.equal(liveness.fired(10_000), "dead");
});

test("the range of a close code decides, also of one that is new", () => {
  for (const code of [1001, 1005, 1006, 1011, 3000, 3004, 3499]) assert.equal(ofClose(code).then, "again", String(code));
  for (const code of [1002, 1007, 1009, 3500, 3504, 3999]) assert.equal(ofClose(code).then, "stop", String(code));
  assert.equal(ofClose(3005).then, "fresh_token");
  assert.equal(ofClose(3500, "", true).then, "again", "the login was on its way");
});

test("a refused login says what to do next", () => {
  const error = { code: "unavailable", message: "", retryable: true, after_ms: 300 };
  assert.deepEqual(ofRefusal(error), { then: "again", after: 300 });
  assert.equal(ofRefusal({ ...error, code: "unauthenticated", retryable: false }).then, "fresh_token");
  assert.equal(ofRefusal({ ...error, code: "banned", retryable: false }).then, "stop");
  assert.deepEqual(ofClosing({ reason: "shutdown", reconnect: true, after_ms: 900 }), { then: "again", after: 900 });
  assert.equal(ofClosing({ reason: "banned", reconnect: false, after_ms: 0 }).then, "stop");
});
