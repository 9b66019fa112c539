// How a connection ended, and what is done about it: again, again with a fresh token, or never.
//
// The range of a close code decides, so that codes of a newer server are obeyed as well. One is no verdict on who did
// what it asks for: a login that went out while the server gave up waiting for it.

const TOKEN_EXPIRED = 3005;
const LOGIN_REQUIRED = 3500;
/** The faults of this client that RFC 6455 names. */
const OURS = new Set([1002, 1007, 1009]);

/** @typedef {{then: "again", after: ?number} | {then: "fresh_token", reason: string} | {then: "stop", reason: string}} Verdict */

/** @param {number} code @param {string} [reason] @param {boolean} [loginSent] and not answered @returns {Verdict} */
export function ofClose(code, reason = "", loginSent = false) {
  if (code === TOKEN_EXPIRED) return { then: "fresh_token", reason };
  if (code === LOGIN_REQUIRED && loginSent) return { then: "again", after: null };
  if (OURS.has(code) || (code >= 3500 && code <= 3999)) return { then: "stop", reason: reason || String(code) };
  return { then: "again", after: null };
}

/** A login that was refused. @param {import("./protocol.js").ErrorBody} error @returns {Verdict} */
export function ofRefusal(error) {
  if (error.code === "unauthenticated") return { then: "fresh_token", reason: error.message };
  if (error.retryable) return { then: "again", after: error.after_ms > 0 ? error.after_ms : null };
  return { then: "stop", reason: error.code };
}

/** The push `closing`. @param {{reason: string, reconnect: boolean, after_ms: number}} push @returns {Verdict} */
export function ofClosing(push) {
  return push.reconnect ? { then: "again", after: push.after_ms } : { then: "stop", reason: push.reason };
}
