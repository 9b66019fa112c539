// What outlives the page: the visitor's key, and what one tab knows and has still to send.
//
// A page without storage (a private window, a full disk) works; it only forgets.

/** Of the kept shape; another is not read. */
const VERSION = 1;

/** The key that makes the same visitor of the same browser: made once, kept for good. @param {Storage} storage @param {string} name */
export function visitorKey(storage, name) {
  const known = read(storage, name);
  if (typeof known === "string" && /^[A-Za-z0-9_-]{43}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const key = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  write(storage, name, key);
  return key;
}

/** @param {Storage} storage @param {string} name @param {{store: any, outbox: any}} kept */
export const save = (storage, name, kept) => write(storage, name, { version: VERSION, ...kept });

/** @param {Storage} storage @param {string} name */
export function load(storage, name) {
  const kept = read(storage, name);
  return kept?.version === VERSION ? kept : null;
}

/** @param {Storage} storage @param {string} name */
function read(storage, name) {
  try {
    return JSON.parse(storage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Storage} storage @param {string} name @param {unknown} value */
function write(storage, name, value) {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // An older state that goes on to be read would not match what was sent since.
    try {
      storage.removeItem(name);
    } catch {
      // No storage at all.
    }
  }
}
