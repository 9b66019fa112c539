// The socket: opens it, greets, keeps it alive, and opens the next one.
//
// Each connection ends in exactly one verdict (again, again with a fresh token, never), and each request in an answer or
// in a RequestError. A socket that was given up is not listened to any more.

import { Backoff } from "./backoff.js";
import { Liveness } from "./liveness.js";
import { PROTOCOL, RequestError } from "./protocol.js";
import { ofClose, ofClosing, ofRefusal } from "./verdict.js";

const ANSWER_WITHIN_MS = 15_000;
/** Requests in flight, where the server does not say. */
const IN_FLIGHT = 16;
const NORMAL = 1000;

/**
 * @typedef {{name: "idle" | "connecting" | "login" | "live" | "waiting" | "stopped", url: ?string, until: number, reason: string}} State
 * @typedef {{get(fresh: boolean): Promise<string>}} Tokens
 * @typedef {{now(): number, random(): number, after(ms: number, then: () => void): () => void, open(url: string): WebSocket}} World
 * @typedef {{
 *   state(state: State): void,
 *   login(answer: import("./protocol.js").LoginAnswer, hello: import("./protocol.js").Hello): void,
 *   lost(): void,
 *   push(action: string, payload: any): void,
 * }} Listener
 */

/** The browser's clock and sockets. @type {World} */
export const BROWSER = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, then) {
    const timer = setTimeout(then, Math.max(0, ms));
    return () => clearTimeout(timer);
  },
  open: (url) => new WebSocket(url),
};

export class Transport {
  /** @type {State} */
  state = { name: "idle", url: null, until: 0, reason: "" };
  #urls;
  #tokens;
  #login;
  #on;
  #world;
  #backoff;
  #turn = 0;
  /** Of the connection that counts; what an older one still says is ignored. */
  #attempt = 0;
  /** @type {?WebSocket} */
  #socket = null;
  /** @type {?Liveness} */
  #liveness = null;
  /** @type {() => void} */
  #cancelTimer = () => {};
  /** @type {Map<string, {resolve: (payload: any) => void, reject: (error: RequestError) => void, cancel: () => void}>} */
  #pending = new Map();
  #nextRequest = 1;
  #inFlightMax = IN_FLIGHT;
  /** @type {?import("./verdict.js").Verdict} what is done once the server has closed, because it said so beforehand */
  #closing = null;
  /** The wait is the server's wish. */
  #told = false;
  /** A fresh token was refused, and none was accepted since. */
  #refused = false;

  /**
   * @param {object} options
   * @param {string[]} options.urls of the sockets of the edges, tried in turn
   * @param {Tokens} options.tokens
   * @param {() => object} options.login what else the login says
   * @param {Listener} options.on
   * @param {World} [options.world]
   */
  constructor({ urls, tokens, login, on, world = BROWSER }) {
    this.#urls = urls;
    this.#tokens = tokens;
    this.#login = login;
    this.#on = on;
    this.#world = world;
    this.#backoff = new Backoff(world.random);
  }

  get isLive() {
    return this.state.name === "live";
  }

  /** Whether one more request may go out, with one kept free for a ping. */
  get hasRoom() {
    return this.isLive && this.#pending.size + 1 < this.#inFlightMax;
  }

  start() {
    if (this.state.name !== "idle" && this.state.name !== "stopped") return;
    this.#refused = false;
    this.#open(false);
  }

  /** Ends it, until `start`. */
  stop(reason = "asked") {
    this.#drop("stopped");
    this.#become("stopped", { reason });
  }

  /** Something changed for the better (the network, the page's visibility): waits no longer, unless the server said so. */
  hurry() {
    if (this.state.name === "waiting" && !this.#told) this.#open(false);
    else if (this.isLive) this.#ping();
  }

  /** @param {string} action @param {object} payload @returns {Promise<any>} */
  request(action, payload) {
    if (!this.isLive) return Promise.reject(lost("not connected"));
    return this.#ask(action, payload);
  }

  // ---- one connection ----

  /** @param {boolean} fresh */
  async #open(fresh) {
    const attempt = this.#begin();
    const url = this.#urls[this.#turn % this.#urls.length];
    this.#become("connecting", { url });
    let token;
    try {
      token = await this.#tokens.get(fresh);
    } catch (error) {
      if (attempt === this.#attempt) this.#end(error instanceof RequestError ? ofTokenError(error) : ofClose(0));
      return;
    }
    if (attempt !== this.#attempt) return;
    const socket = this.#world.open(url);
    this.#socket = socket;
    this.#liveness = new Liveness(this.#world.now());
    /** @param {(event: any) => void} handle */
    const current = (handle) => (/** @type {any} */ event) => {
      if (attempt === this.#attempt) handle(event);
    };
    socket.onmessage = current(({ data }) => this.#frame(String(data), token));
    socket.onclose = current(({ code, reason }) => this.#end(ofClose(code, reason, this.state.name === "login")));
    this.#arm();
  }

  #begin() {
    this.#cancelTimer();
    this.#closing = null;
    this.#attempt += 1;
    return this.#attempt;
  }

  /** @param {string} text @param {string} token */
  #frame(text, token) {
    this.#liveness?.heard(this.#world.now());
    const frame = JSON.parse(text);
    if (frame.request_id) return this.#answered(frame);
    const { action, payload } = frame;
    if (action === "hello") return this.#greet(payload, token);
    if (action === "closing") this.#closing = ofClosing(payload);
    if (action === "token_expiring") this.#refresh();
    this.#on.push(action, payload);
  }

  /** @param {import("./protocol.js").Hello} hello @param {string} token */
  async #greet(hello, token) {
    const attempt = this.#attempt;
    this.#inFlightMax = hello.limits?.requests_in_flight || IN_FLIGHT;
    this.#liveness?.greeted(this.#world.now());
    this.#become("login", { url: this.state.url });
    try {
      const answer = await this.#ask("login", { token, protocol: PROTOCOL, ...this.#login() });
      if (attempt !== this.#attempt) return;
      this.#refused = false;
      this.#backoff.connected(this.#world.now());
      this.#liveness?.live(hello.ping_interval_ms || undefined);
      this.#arm();
      this.#become("live", { url: this.state.url });
      this.#on.login(answer, hello);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      // Else the connection ended, and its end has said what follows.
      if (attempt === this.#attempt) this.#end(ofRefusal(error));
    }
  }

  /** @param {{request_id: string, success: boolean, payload: any}} frame */
  #answered({ request_id, success, payload }) {
    const pending = this.#pending.get(request_id);
    if (!pending) return;
    this.#pending.delete(request_id);
    pending.cancel();
    if (success) pending.resolve(payload);
    else pending.reject(new RequestError(payload.error));
  }

  /** @param {string} action @param {object} payload @returns {Promise<any>} */
  #ask(action, payload) {
    if (this.#pending.size >= this.#inFlightMax) return Promise.reject(lost("too much at once"));
    const request_id = String(this.#nextRequest++);
    const answer = new Promise((resolve, reject) => {
      const expire = () => {
        this.#pending.delete(request_id);
        reject(lost("no answer in time"));
      };
      this.#pending.set(request_id, { resolve, reject, cancel: this.#world.after(ANSWER_WITHIN_MS, expire) });
    });
    this.#socket?.send(JSON.stringify({ request_id, action, payload }));
    return answer;
  }

  async #refresh() {
    try {
      const token = await this.#tokens.get(true);
      await this.request("refresh_token", { token });
    } catch (error) {
      // The server closes with `token_expired`, and the next login brings a fresh one.
      if (!(error instanceof RequestError)) throw error;
    }
  }

  #ping() {
    // The frame that answers shows life; the answer itself says nothing.
    this.#ask("ping", {}).catch(() => {});
  }

  #arm() {
    this.#cancelTimer();
    const liveness = this.#liveness;
    if (!liveness) return;
    this.#cancelTimer = this.#world.after(liveness.due() - this.#world.now(), () => {
      const fired = liveness.fired(this.#world.now());
      if (fired === "dead") return this.#end(ofClose(0));
      if (fired === "ping") this.#ping();
      this.#arm();
    });
  }

  /** @param {import("./verdict.js").Verdict} verdict */
  #end(verdict) {
    const final = this.#closing ?? verdict;
    this.#drop("again");
    if (final.then === "stop" || (final.then === "fresh_token" && this.#refused)) {
      return this.#become("stopped", { reason: final.reason });
    }
    if (final.then === "fresh_token") {
      this.#refused = true;
      // What refused it may be this edge alone.
      this.#turn += 1;
      this.#open(true);
      return;
    }
    this.#turn += 1;
    this.#told = final.after !== null;
    const now = this.#world.now();
    const wait = this.#backoff.lost(now, final.after);
    this.#become("waiting", { until: now + wait });
    this.#cancelTimer = this.#world.after(wait, () => this.#open(false));
  }

  /** Gives the connection up. @param {string} why */
  #drop(why) {
    this.#begin();
    const socket = this.#socket;
    this.#socket = null;
    this.#liveness = null;
    for (const pending of this.#pending.values()) {
      pending.cancel();
      pending.reject(lost("the connection is gone"));
    }
    this.#pending.clear();
    if (!socket) return;
    socket.close(NORMAL, why);
    this.#on.lost();
  }

  /** @param {State["name"]} name @param {Partial<State>} more */
  #become(name, more) {
    this.state = { url: null, until: 0, reason: "", ...more, name };
    this.#on.state(this.state);
  }
}

/** @param {string} message */
const lost = (message) => new RequestError({ code: "timeout", message, retryable: true });

/** @param {RequestError} error @returns {import("./verdict.js").Verdict} */
function ofTokenError(error) {
  return error.retryable ? { then: "again", after: error.after_ms || null } : { then: "stop", reason: error.code };
}
