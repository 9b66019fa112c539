import assert from "node:assert/strict";
import { test } from "node:test";

import { VisitorTokens } from "../widget/tokens.js";

/** Answers sessions as an edge does. @param {(body: any) => void} seen */
function edge(seen) {
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ _url, /** @type {{body: string}} */ request) => {
    seen(JSON.parse(request.body));
    const answer = { token: "t", token_expires_at: new Date(Date.now() + 3_600_000).toISOString() };
    return { ok: true, json: async () => answer };
  });
}

const OPTIONS = { edges: ["http://edge"], widgetKey: "wk", visitorKey: "vk", profile: { name: "Ada" } };

test("each session carries a new identity token, and none where the site proves nothing", async () => {
  const sessions = /** @type {any[]} */ ([]);
  edge((body) => sessions.push(body));
  let made = 0;
  const known = new VisitorTokens({ ...OPTIONS, identify: async () => `proof-${++made}` });
  assert.equal(await known.get(false), "t");
  await known.get(false);
  await known.get(true);
  const expected = { widget_key: "wk", visitor_key: "vk", name: "Ada" };
  assert.deepEqual(sessions, [1, 2].map((n) => ({ ...expected, identity_token: `proof-${n}` })));
  await new VisitorTokens(OPTIONS).get(false);
  assert.deepEqual(sessions[2], expected);
});

test("a site that cannot be asked now is asked again later", async () => {
  edge(() => assert.fail("no session without its proof"));
  const tokens = new VisitorTokens({
    ...OPTIONS,
    identify: async () => {
      throw new TypeError("fetch failed");
    },
  });
  await assert.rejects(tokens.get(false), { code: "unavailable", retryable: true });
});
