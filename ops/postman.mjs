// Runs a Postman collection (format 2.1) in its order, as Postman's runner does:
//   node ops/postman.mjs COLLECTION.json [name=value ...]
// Of Postman's scripting it knows what our collections use; anything else is a failure, never ignored.
// Prints one line of JSON for each request: {id, method, url, status, body, kept, ms, failed}; exit code 1 if any failed.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";

const REQUEST_MS_MAX = 30_000;
/** Of all requests together, those that are sent again among them. */
const REQUESTS_MAX = 2_000;

const [file, ...given] = process.argv.slice(2);
if (!file) {
  console.error("usage: node ops/postman.mjs COLLECTION.json [name=value ...]");
  process.exit(64);
}
const collection = JSON.parse(readFileSync(file, "utf8"));
const variables = new Map((collection.variable ?? []).map(({ key, value }) => [key, value]));
for (const pair of given) {
  const at = pair.indexOf("=");
  variables.set(pair.slice(0, at), pair.slice(at + 1));
}

function replaceIn(text) {
  return text.replace(/\{\{([^{}]+)\}\}/g, (whole, name) => {
    if (name === "$guid") return randomUUID();
    return variables.has(name) ? variables.get(name) : whole;
  });
}

function assertStatus(response, wanted) {
  if (response.code !== wanted) throw new Error(`expected status ${wanted}, got ${response.code}`);
}

async function runScript(item, listen, state) {
  const events = (item.event ?? []).filter((event) => event.listen === listen);
  for (const { script } of events) {
    const waits = [];
    const pm = {
      info: { requestName: item.name, requestId: item.id },
      variables: { replaceIn },
      collectionVariables: {
        get: (name) => variables.get(name),
        set: (name, value) => {
          if (value === undefined || value === null) throw new Error(`${name} would be ${value}`);
          variables.set(name, String(value));
          state.kept[name] = String(value);
        },
      },
      execution: { setNextRequest: (name) => (state.next = name) },
      test: (name, check) => {
        try {
          check();
        } catch (error) {
          state.failed.push(`${name}: ${error.message}`);
        }
      },
      response: state.response && {
        code: state.response.code,
        json: () => JSON.parse(state.response.text),
        headers: { get: (name) => state.response.headers.get(name) ?? undefined },
        to: { have: { status: (wanted) => assertStatus(state.response, wanted) } },
      },
    };
    const setTimeout = (work, ms) => waits.push(new Promise((done) => globalThis.setTimeout(done, ms)).then(work));
    try {
      runInContext(script.exec.join("\n"), createContext({ pm, setTimeout }), { timeout: 1_000 });
      await Promise.all(waits);
    } catch (error) {
      state.failed.push(`${listen} script: ${error.message}`);
    }
  }
}

async function send(request) {
  const headers = new Headers();
  for (const { key, value, disabled } of request.header ?? []) {
    if (!disabled) headers.set(key, replaceIn(value));
  }
  const auth = request.auth ?? collection.auth;
  if (auth?.type === "bearer") headers.set("Authorization", `Bearer ${replaceIn(auth.bearer[0].value)}`);
  const url = new URL(replaceIn(request.url.raw));
  const body = request.body?.mode === "raw" ? replaceIn(request.body.raw) : undefined;
  const signal = AbortSignal.timeout(REQUEST_MS_MAX);
  const response = await fetch(url, { method: request.method, headers, body, redirect: "manual", signal });
  return { url, code: response.status, headers: response.headers, text: await response.text() };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text === "" ? null : text;
  }
}

const requests = collection.item.flatMap((folder) => folder.item);
let anyFailed = false;
let sent = 0;
for (let at = 0; at < requests.length; ) {
  const item = requests[at];
  const state = { failed: [], kept: {}, next: undefined, response: undefined };
  await runScript(item, "prerequest", state);
  const began = performance.now();
  try {
    if (++sent > REQUESTS_MAX) throw new Error(`more than ${REQUESTS_MAX} requests`);
    state.response = await send(item.request);
    await runScript(item, "test", state);
  } catch (error) {
    state.failed.push(error.message);
  }
  const ms = Math.round(performance.now() - began);
  const again = state.next !== undefined;
  const { url, code: status, text = "" } = state.response ?? {};
  const said = { id: item.id, method: item.request.method, url, status, body: parsed(text), kept: state.kept, ms };
  if (!again) console.log(JSON.stringify({ ...said, failed: state.failed }));
  anyFailed ||= state.failed.length > 0;
  if (sent > REQUESTS_MAX) break;
  at = again ? requests.findIndex(({ name }) => name === state.next) : at + 1;
  if (at < 0) throw new Error(`there is no request ${state.next}`);
}
process.exitCode = anyFailed ? 1 : 0;
