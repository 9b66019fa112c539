// Where a client gets its token from.
//
// One is fetched when there is none, when a fresh one is wanted, or shortly before its end; never two at a time. A failure
// that may pass is `retryable`; any other ends the client.

import { RequestError } from "./protocol.js";

/** A token this close to its end is not used any more. */
const RENEW_BEFORE_MS = 30_000;
const FETCH_WITHIN_MS = 10_000;

/** @typedef {{token: string, goodUntil: number}} Held */

/** Hands out the token that `fetch` brings, as long as it is good. */
class Cached {
  /** @type {?Held} */
  #held = null;
  /** @type {?Promise<Held>} */
  #coming = null;

  /** @param {boolean} fresh not the one that was handed out last */
  async get(fresh) {
    if (this.#held && !fresh && Date.now() + RENEW_BEFORE_MS < this.#held.goodUntil) return this.#held.token;
    this.#coming ??= this.renew().finally(() => (this.#coming = null));
    this.#held = await this.#coming;
    return this.#held.token;
  }

  /** @returns {Promise<Held>} */
  async renew() {
    throw new RequestError({ code: "unauthenticated" });
  }
}

/** A visitor's: the widget's session, opened again when the token ends. The same key is the same visitor. */
export class VisitorTokens extends Cached {
  /**
   * @param {{edges: string[], widgetKey: string, visitorKey: string, profile?: {name?: string, email?: string},
   *   identify?: () => Promise<string>}} options `identify` brings an identity token from the site's own server
   */
  constructor(options) {
    super();
    this.options = options;
  }

  async renew() {
    const { edges, widgetKey, visitorKey, profile, identify } = this.options;
    const identity = identify && { identity_token: await brought(identify) };
    const body = { widget_key: widgetKey, visitor_key: visitorKey, ...profile, ...identity };
    let last = new RequestError({ code: "unavailable", retryable: true });
    for (const edge of edges) {
      try {
        const answer = await post(`${edge}/v1/widget/session`, body);
        return { token: answer.token, goodUntil: Date.parse(answer.token_expires_at) };
      } catch (error) {
        if (!(error instanceof RequestError) || !error.retryable) throw error;
        last = error;
      }
    }
    throw last;
  }
}

/** Staff's: by e-mail and password once, then by refresh token, which is kept for the life of the tab. */
export class StaffTokens extends Cached {
  /** @param {{admin: string, storage: Storage, key: string}} options */
  constructor({ admin, storage, key }) {
    super();
    this.admin = admin;
    this.storage = storage;
    this.key = key;
  }

  get isSignedIn() {
    return this.storage.getItem(this.key) !== null;
  }

  /** @param {string} email @param {string} password */
  async signIn(email, password) {
    const answer = await post(`${this.admin}/v1/auth/login`, { email, password });
    this.storage.setItem(this.key, answer.refresh_token);
  }

  signOut() {
    this.storage.removeItem(this.key);
  }

  async renew() {
    const refresh_token = this.storage.getItem(this.key);
    if (!refresh_token) throw new RequestError({ code: "unauthenticated" });
    const answer = await post(`${this.admin}/v1/auth/refresh`, { refresh_token });
    this.storage.setItem(this.key, answer.refresh_token);
    return { token: answer.access_token, goodUntil: Date.now() + answer.expires_in * 1000 };
  }
}

/** @param {() => Promise<string>} identify */
async function brought(identify) {
  try {
    return await identify();
  } catch (error) {
    throw new RequestError({ code: "unavailable", message: String(error), retryable: true });
  }
}

/** @param {string} url @param {object} body */
async function post(url, body) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(FETCH_WITHIN_MS),
    });
  } catch (error) {
    throw new RequestError({ code: "unavailable", message: String(error), retryable: true });
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const retryable = response.status >= 500 || response.status === 429;
  const after_ms = Number(response.headers.get("retry-after")) * 1000 || 0;
  throw new RequestError({ code: answer.code ?? "internal", message: answer.detail ?? answer.title, retryable, after_ms });
}
