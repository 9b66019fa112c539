// A chat client: a transport, what it knows, and what it has still to send, tied together.
//
// Whatever it shows is stored, or is marked as not yet sent. Whoever shows it subscribes, and reads all of it anew.

import { save, load } from "./keep.js";
import { Outbox } from "./outbox.js";
import { CONTENT, RequestError, isOpen, isSame, keyOf } from "./protocol.js";
import { Receipts } from "./receipts.js";
import { Store } from "./store.js";
import { BROWSER, Transport } from "./transport.js";
import { Heard, Said } from "./typing.js";

const NAME = "chatbus-widget";
const VERSION = "1";
/** What a visitor writes before there is a conversation. */
const NEW = "new";
const PAGE = 50;
/** Pushes after which a conversation is as the log has it. */
const SETTLES = new Set(["caught_up", "reset", "conversation_available", "conversation_removed"]);
/** Between two writes of what outlives the page. */
const SAVE_EVERY_MS = 300;

/** @typedef {import("./conversation.js").Conversation} Conversation */

export class ChatClient {
  store = new Store();
  outbox;
  heard = new Heard();
  #receipts = new Receipts();
  /** @type {Map<string, Said>} */
  #said = new Map();
  #transport;
  #world;
  #storage;
  #keepAs;
  #previews;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #told = false;
  #saving = false;
  /** @type {() => void} */
  #cancelTimer = () => {};

  /**
   * @param {object} options
   * @param {string[]} options.edges base URLs; tried in turn
   * @param {import("./transport.js").Tokens} options.tokens
   * @param {Storage} options.storage of this tab
   * @param {string} options.keepAs name in it
   * @param {string} [options.status] an agent's, set at each login
   * @param {boolean} [options.previews] whether a visitor shows what they write before they send it
   * @param {import("./transport.js").World} [options.world]
   */
  constructor({ edges, tokens, storage, keepAs, status, previews = false, world = BROWSER }) {
    this.#world = world;
    this.#previews = previews;
    this.#storage = storage;
    this.#keepAs = keepAs;
    this.outbox = new Outbox(world.random);
    const kept = load(storage, keepAs);
    if (kept) {
      this.store.restore(kept.store);
      this.outbox.restore(kept.outbox);
    }
    const client = { name: NAME, version: VERSION };
    this.status = status;
    this.#transport = new Transport({
      urls: edges.map((edge) => `${edge.replace(/^http/, "ws")}/v1/ws`),
      tokens,
      login: () => ({ client, resume: this.store.resume(), ...(this.status ? { status: this.status } : {}) }),
      on: {
        state: () => this.#changed(),
        login: (answer) => this.#loggedIn(answer),
        lost: () => this.#lost(),
        push: (action, payload) => this.#pushed(action, payload),
      },
      world,
    });
  }

  // ---- what callers do ----

  start() {
    this.#transport.start();
  }

  stop(reason = "asked") {
    this.#transport.stop(reason);
  }

  hurry() {
    this.#transport.hurry();
  }

  get state() {
    return this.#transport.state;
  }

  /** Called, once for many changes, when something is different. @param {() => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A visitor's only one. @returns {?Conversation} */
  get own() {
    return [...this.store.conversations.values()].find((conversation) => conversation.mine) ?? null;
  }

  /** Writes a message. A visitor needs no conversation for it. @param {?string} conversation @param {string} text */
  send(conversation, text) {
    const event = { kind: "message", client_id: crypto.randomUUID(), data: { text } };
    this.outbox.add(conversation ?? NEW, event, this.#world.now());
    if (conversation) this.#said.get(conversation)?.sent();
    this.#pump();
    this.#changed();
    return event.client_id;
  }

  /** Tries again what was refused. @param {string} clientId */
  retry(clientId) {
    this.outbox.retry(clientId);
    this.#pump();
    this.#changed();
  }

  /** @param {string} clientId */
  discard(clientId) {
    this.outbox.discard(clientId);
    this.#changed();
  }

  /** The person sees the conversation. @param {string} id */
  read(id) {
    const { me } = this.store;
    const conversation = this.store.conversations.get(id);
    if (!me || !conversation) return;
    conversation.seen = conversation.lastOfOthers(me);
    this.#receipts.note("read", id, conversation.seen);
    this.#pump();
  }

  /** The person writes. @param {string} conversation @param {string} text what is in the field now */
  typed(conversation, text) {
    let said = this.#said.get(conversation);
    if (!said) this.#said.set(conversation, (said = new Said()));
    said.typed(text, this.#world.now());
    this.#pump();
  }

  /** Reads the page before what is here. @param {string} id */
  async older(id) {
    const before_seq = this.store.get(id).timeline.events[0]?.seq;
    const page = await this.request("list_events", { conversation_id: id, before_seq, limit: PAGE });
    this.store.older(id, page);
    this.#changed();
  }

  /** Any other action. @param {string} action @param {object} payload */
  request(action, payload) {
    return this.#transport.request(action, payload);
  }

  /** The person's items of a conversation that are not in its list yet. @param {?string} conversation */
  unsent(conversation) {
    return this.outbox.items.filter((item) => item.line === (conversation ?? NEW));
  }

  // ---- what the server says ----

  /** @param {import("./protocol.js").LoginAnswer} answer */
  #loggedIn(answer) {
    this.#arrived(this.store.login(answer));
    for (const conversation of this.store.conversations.values()) this.#settled(conversation);
    this.#pump();
    this.#changed();
  }

  #lost() {
    this.outbox.disconnected();
    this.#receipts.disconnected();
    for (const said of this.#said.values()) said.disconnected();
  }

  /** @param {string} action @param {any} payload */
  #pushed(action, payload) {
    this.#arrived(this.store.push(action, payload), payload?.conversation_id);
    if (action === "signal") this.heard.signal(payload, this.#world.now());
    const id = payload?.conversation?.id ?? payload?.conversation_id;
    const conversation = SETTLES.has(action) && this.store.conversations.get(id);
    if (conversation) this.#settled(conversation);
    this.#pump();
    this.#changed();
  }

  /** Events that are new here: what they are of the outbox is stored. @param {import("./protocol.js").Event[]} events @param {string} [conversation] */
  #arrived(events, conversation) {
    const { me } = this.store;
    for (const event of events) {
      if (me && event.client_id && isSame(event.author, me)) this.outbox.seen(event.client_id);
      if (conversation && CONTENT.has(event.kind)) this.heard.ended(conversation, event.author);
    }
  }

  /** After a snapshot, and once what was missed is here. @param {Conversation} conversation */
  #settled(conversation) {
    const { me } = this.store;
    if (!me || !conversation.caughtUp) return;
    if (me.type === "visitor") this.outbox.rename(NEW, conversation.id);
    this.outbox.caughtUp(conversation.id);
    const mark = conversation.marks.get(keyOf(me));
    if (!mark) return;
    this.#receipts.known("delivered", conversation.id, mark.delivered);
    this.#receipts.known("read", conversation.id, mark.read);
  }

  // ---- what goes out ----

  /** Sends what may go out now, and comes back when more may. */
  #pump() {
    const now = this.#world.now();
    if (this.#transport.isLive) {
      this.#sendEvents(now);
      this.#sendMarks(now);
      this.#sendTyping(now);
    }
    const dues = [this.heard.due(now)];
    if (this.#transport.isLive) {
      const said = [...this.#said.values()].map((said) => said.due(this.#showsPreviews()));
      dues.push(this.outbox.due(now), this.#receipts.due(), ...said);
    }
    const times = dues.filter((due) => due !== null);
    this.#cancelTimer();
    if (!times.length) return;
    this.#cancelTimer = this.#world.after(Math.max(Math.min(...times) - now, TICK_MS), () => {
      this.#pump();
      this.#changed();
    });
  }

  /** @param {number} now */
  #sendEvents(now) {
    const isReady = (/** @type {string} */ line) =>
      this.#transport.hasRoom && (this.store.conversations.get(line)?.caughtUp ?? true);
    for (const { item, retry } of this.outbox.next(now, isReady)) {
      this.#sendOne(item, retry).catch((error) => this.#unsent(item, error));
    }
  }

  /** @param {import("./outbox.js").Item} item @param {boolean} retry */
  async #sendOne(item, retry) {
    const { line: conversation_id, event } = item;
    const { me } = this.store;
    const conversation = this.store.conversations.get(conversation_id);
    if (me?.type === "visitor" && !isOpen(conversation?.thread)) {
      /** @type {import("./protocol.js").Conv} */
      const conv = await this.request("start_thread", { initial_event: event });
      this.outbox.stored(item, 0);
      this.#arrived(this.store.snapshot(conv));
      this.#settled(this.store.get(conv.id));
    } else {
      const answer = await this.request("send_event", { conversation_id, event, ...(retry ? { retry } : {}) });
      this.outbox.stored(item, answer.seq);
    }
    this.#pump();
    this.#changed();
  }

  /** @param {import("./outbox.js").Item} item @param {unknown} error */
  #unsent(item, error) {
    if (!(error instanceof RequestError)) throw error;
    this.outbox.refused(item, error, this.#world.now());
    this.#pump();
    this.#changed();
  }

  /** @param {number} now */
  #sendMarks(now) {
    const { me } = this.store;
    if (!me) return;
    for (const conversation of this.store.conversations.values()) {
      if (conversation.mine && conversation.caughtUp) {
        this.#receipts.note("delivered", conversation.id, conversation.lastOfOthers(me));
      }
    }
    for (const { entry, up_to_seq } of this.#receipts.next(now)) {
      const { kind, conversation_id } = entry;
      this.request(`mark_${kind}`, { conversation_id, up_to_seq })
        .then(
          () => this.#receipts.told(entry, up_to_seq),
          (error) => this.#receipts.refused(entry, error, this.#world.now()),
        )
        .then(() => this.#pump());
    }
  }

  /** @param {number} now */
  #sendTyping(now) {
    for (const [conversation_id, said] of this.#said) {
      const on = said.next(now);
      // Nothing hangs on it: the next one comes in 4 s.
      if (on !== null) this.request("typing", { conversation_id, on }).catch(() => {});
      const text = this.#showsPreviews() ? said.preview(now) : null;
      if (text !== null) this.request("preview", { conversation_id, text }).catch(() => {});
    }
  }

  #showsPreviews() {
    return this.#previews && this.store.me?.type === "visitor";
  }

  // ---- who is told ----

  #changed() {
    this.#save();
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      for (const listener of this.#listeners) listener();
    });
  }

  #save() {
    if (this.#saving) return;
    this.#saving = true;
    this.#world.after(SAVE_EVERY_MS, () => {
      this.#saving = false;
      this.keep();
    });
  }

  /** Writes down what outlives the page. */
  keep() {
    save(this.#storage, this.#keepAs, { store: this.store, outbox: this.outbox });
  }
}

/** Timers are not set for less. */
const TICK_MS = 50;
