import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatClient } from "../widget/client.js";
import { visitorKey } from "../widget/keep.js";
import { AGENT, FakeStorage, VISITOR, conv, fakeWorld, life, loginAnswer, message, settle } from "./fakes.js";

function setUp(storage = new FakeStorage(), previews = false) {
  const fake = fakeWorld();
  /** @type {boolean[]} */
  const asked = [];
  const tokens = { get: async (/** @type {boolean} */ fresh) => (asked.push(fresh), `token ${asked.length}`) };
  const client = new ChatClient({
    edges: ["http://one", "http://two"], tokens, storage: /** @type {any} */ (storage), keepAs: "me", world: fake.world,
    previews,
  });
  client.start();
  return { ...fake, client, asked, storage };
}

/** @param {ReturnType<typeof setUp>} it @param {any} [answer] */
async function logIn(it, answer = loginAnswer()) {
  await settle();
  await it.last().hello();
  await it.last().answer("login", answer);
}

/** An answer to a login that resumes. */
const resumed = () => {
  const { events, cursor, ...rest } = conv();
  return loginAnswer([/** @type {any} */ (rest)]);
};
const texts = (/** @type {ChatClient} */ client) => client.store.get("c").timeline.events.map((event) => event.data.text);
const event = (/** @type {any} */ event) => ["event", { conversation_id: "c", event, cursor: `k${event.seq}` }];
const sends = (/** @type {any} */ socket) => socket.requests.filter((/** @type {any} */ r) => r.action === "send_event").map((/** @type {any} */ r) => r.payload);

test("it waits for hello, logs in, and is live", async () => {
  const it = setUp();
  await settle();
  assert.equal(it.last().url, "ws://one/v1/ws");
  assert.deepEqual(it.last().requests, []);
  await logIn(it);
  const { payload } = it.last().asked("login");
  assert.deepEqual(payload, { token: "token 1", protocol: 1, client: { name: "chatbus-widget", version: "1" }, resume: [] });
  assert.equal(it.client.state.name, "live");
});

test("after a loss it resumes at the next edge; what was on its way is sent once it has caught up", async () => {
  const it = setUp();
  await logIn(it, loginAnswer([conv({ events: [message(1)], cursor: "k1" })]));
  const [first, second] = [it.client.send("c", "first"), it.client.send("c", "second")];
  await it.last().end(1006);
  assert.equal(it.client.state.name, "waiting");
  await it.pass(1000);
  assert.equal(it.last().url, "ws://two/v1/ws");
  await logIn(it, resumed());
  assert.deepEqual(it.last().asked("login").payload.resume, [{ conversation_id: "c", cursor: "k1" }]);
  assert.deepEqual(sends(it.last()), [], "not before it has caught up");
  await it.last().push(...event(message(2, VISITOR, "first", { client_id: first })));
  await it.last().push("caught_up", { conversation_id: "c", cursor: "k2" });
  assert.deepEqual(sends(it.last()).map((p) => p.event.client_id), [second], "what came back is not sent again");
  await it.last().answer("send_event", { event_id: "e3", seq: 3, duplicate: false });
  await it.last().push(...event(message(3, VISITOR, "second", { client_id: second })));
  assert.deepEqual(texts(it.client), ["text 1", "first", "second"]);
  assert.deepEqual(it.client.unsent("c"), []);
});

test("a send that did not come back is repeated as a retry", async () => {
  const it = setUp();
  await logIn(it);
  it.client.send("c", "lost");
  await it.last().end(3000);
  await it.pass(1000);
  await logIn(it, resumed());
  await it.last().push("caught_up", { conversation_id: "c", cursor: "k0" });
  assert.deepEqual(sends(it.last()).map((p) => p.retry), [true]);
});

test("answer and own push may come in either order", async () => {
  const it = setUp();
  await logIn(it);
  const id = it.client.send("c", "hi");
  await it.last().push(...event(message(4, VISITOR, "hi", { client_id: id })));
  assert.deepEqual(it.client.unsent("c"), []);
  await it.last().answer("send_event", { event_id: "e4", seq: 4, duplicate: false });
  assert.deepEqual(it.client.unsent("c"), []);
  assert.deepEqual(texts(it.client), ["hi"]);
});

test("a visitor's first message starts the thread, and so does one after its close", async () => {
  const it = setUp();
  await logIn(it, loginAnswer([]));
  const id = it.client.send(null, "anybody?");
  assert.equal(it.last().asked("start_thread").payload.initial_event.client_id, id);
  await it.last().answer("start_thread", conv({ events: [message(2, VISITOR, "anybody?", { client_id: id })] }));
  assert.deepEqual(texts(it.client), ["anybody?"]);
  assert.deepEqual(it.client.unsent("c"), []);
  await it.last().push(...event(life(5, "closed")));
  it.client.send("c", "one more thing");
  assert.equal(it.last().asked("start_thread").payload.initial_event.data.text, "one more thing");
});

test("what is refused for good is shown with its code", async () => {
  const it = setUp();
  await logIn(it);
  const id = it.client.send("c", "x");
  await it.last().refuse("send_event", "thread_closed");
  assert.deepEqual(it.client.unsent("c").map((item) => item.error), ["thread_closed"]);
  it.client.discard(id);
  assert.deepEqual(it.client.unsent("c"), []);
});

test("received is delivered, seen is read, at most once a second", async () => {
  const it = setUp();
  await logIn(it, loginAnswer([conv({ events: [message(1)], cursor: "k1" })]));
  assert.deepEqual(it.last().asked("mark_delivered").payload, { conversation_id: "c", up_to_seq: 1 });
  await it.last().answer("mark_delivered", {});
  it.client.read("c");
  assert.deepEqual(it.last().asked("mark_read").payload, { conversation_id: "c", up_to_seq: 1 });
  await it.last().push(...event(message(2)));
  await it.last().push(...event(message(3)));
  const told = () => it.last().requests.filter((r) => r.action === "mark_delivered").map((r) => r.payload.up_to_seq);
  assert.deepEqual(told(), [1]);
  await it.pass(1000);
  assert.deepEqual(told(), [1, 3]);
});

test("others' typing shows until they have said it", async () => {
  const it = setUp();
  await logIn(it);
  await it.last().push("signal", { conversation_id: "c", author: AGENT, kind: "typing", on: true, expires_ms: 6000 });
  assert.equal(it.client.heard.in("c", it.world.now()).length, 1);
  await it.last().push(...event(message(1)));
  assert.equal(it.client.heard.in("c", it.world.now()).length, 0);
  it.client.typed("c", "h");
  assert.deepEqual(it.last().asked("typing").payload, { conversation_id: "c", on: true });
});

test("a visitor's unsent words are shown where that is wanted, and nowhere else", async () => {
  for (const previews of [false, true]) {
    const it = setUp(new FakeStorage(), previews);
    await logIn(it);
    it.client.typed("c", "hel");
    const shown = it.last().requests.filter((r) => r.action === "preview").map((r) => r.payload);
    assert.deepEqual(shown, previews ? [{ conversation_id: "c", text: "hel" }] : []);
  }
});

test("a quiet connection is pinged, and left when nothing answers", async () => {
  const it = setUp();
  await logIn(it);
  await it.pass(25_000);
  assert.ok(it.last().asked("ping"));
  await it.last().answer("ping", {});
  await it.pass(24_999);
  assert.equal(it.last().requests.filter((r) => r.action === "ping").length, 1);
  await it.pass(1);
  const dead = it.last();
  await it.pass(10_000);
  assert.equal(dead.closed, true);
  assert.equal(it.client.state.name, "waiting");
  await dead.push(...event(message(9)));
  assert.deepEqual(texts(it.client), [], "a socket that was given up is not listened to");
});

test("a closing that names a wait is obeyed", async () => {
  const it = setUp();
  await logIn(it);
  await it.last().push("closing", { reason: "shutdown", reconnect: true, after_ms: 9_000 });
  await it.last().end(3000);
  it.client.hurry();
  await it.pass(8_999);
  assert.equal(it.sockets.length, 1);
  await it.pass(1);
  assert.equal(it.sockets.length, 2);
});

test("an expired token is refreshed first; one that is refused again ends it", async () => {
  const it = setUp();
  await logIn(it);
  await it.last().end(3005);
  await settle();
  assert.deepEqual(it.asked, [false, true]);
  assert.equal(it.last().url, "ws://two/v1/ws");
  await it.last().hello();
  await it.last().refuse("login", "unauthenticated");
  assert.equal(it.client.state.name, "stopped");
});

test("a token that is about to end is changed on the open connection", async () => {
  const it = setUp();
  await logIn(it);
  await it.last().push("token_expiring", { expires_at: "2030-01-01T00:00:00.000Z" });
  assert.deepEqual(it.last().asked("refresh_token").payload, { token: "token 2" });
  assert.equal(it.client.state.name, "live");
});

test("a login that comes too late is sent again on the next connection", async () => {
  const it = setUp();
  await settle();
  await it.last().hello();
  await it.last().end(3500, "login_required");
  assert.equal(it.client.state.name, "waiting");
  await it.pass(1000);
  await logIn(it);
  assert.equal(it.client.state.name, "live");
  await it.last().end(3500, "login_required");
  assert.equal(it.client.state.name, "stopped");
});

test("what may not reconnect does not", async () => {
  const it = setUp();
  await logIn(it);
  await it.last().end(3504, "evicted");
  assert.deepEqual([it.client.state.name, it.client.state.reason], ["stopped", "evicted"]);
  await it.pass(600_000);
  assert.equal(it.sockets.length, 1);
});

test("a page that is loaded again goes on where it was, with what was not sent", async () => {
  const storage = new FakeStorage();
  const before = setUp(storage);
  await logIn(before, loginAnswer([conv({ events: [message(1)], cursor: "k1" })]));
  before.client.send("c", "still on its way");
  before.client.keep();

  const it = setUp(storage);
  assert.deepEqual(texts(it.client), ["text 1"]);
  await logIn(it, resumed());
  assert.deepEqual(it.last().asked("login").payload.resume, [{ conversation_id: "c", cursor: "k1" }]);
  await it.last().push("caught_up", { conversation_id: "c", cursor: "k1" });
  assert.deepEqual(sends(it.last()).map((p) => [p.event.data.text, p.retry]), [["still on its way", true]]);
});

test("a visitor's key is made once", () => {
  const storage = /** @type {any} */ (new FakeStorage());
  const key = visitorKey(storage, "key");
  assert.match(key, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(visitorKey(storage, "key"), key);
});
