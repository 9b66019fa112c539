// The demo: a visitor and an agent of one running system, side by side.

import { ChatClient, RequestError, StaffTokens, VisitorTokens, isOpen, visitorKey } from "/widget.js";
import { Panel, mayWrite } from "./panel.js";
import { reopenWith, takeSettings } from "./settings.js";

/** @typedef {import("../widget/client.js").ChatClient} Client */
/** @typedef {import("../widget/conversation.js").Conversation} Conversation */

const VISITOR_KEY = "chatbus-demo-visitor-key";
const VISITOR_KEPT = "chatbus-demo-visitor";
const AGENT_KEPT = "chatbus-demo-agent";
const AGENT_TOKEN = "chatbus-demo-agent-refresh";

const settings = takeSettings();
const sides = {
  visitor: /** @type {HTMLElement} */ (document.querySelector("[data-side=visitor]")),
  agent: /** @type {HTMLElement} */ (document.querySelector("[data-side=agent]")),
};
/** @type {{visitor: ?Client, agent: ?Client}} */
const clients = { visitor: null, agent: null };
/** @type {Panel[]} */
const panels = [];

function askWidget() {
  const form = place(sides.visitor, "widget-key");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    reopenWith(String(new FormData(form).get("widget")));
  });
}

function openVisitor() {
  const tokens = new VisitorTokens({
    edges: settings.edges, widgetKey: settings.widget, visitorKey: visitorKey(localStorage, VISITOR_KEY), profile: { name: "Ada" },
  });
  const client = new ChatClient({
    edges: settings.edges, tokens, storage: sessionStorage, keepAs: VISITOR_KEPT, previews: true,
  });
  const panel = new Panel(sides.visitor, client, {
    title: () => "Ada", initial: "A", placeholder: "Write to the company…", pick: () => client.own, draw: compare,
    who: (conversation) => (isOpen(conversation?.thread) ? waiting(conversation) : "Visitor on the company's web page"),
  });
  panel.addAction("New visitor", () => {
    client.stop();
    localStorage.removeItem(VISITOR_KEY);
    sessionStorage.removeItem(VISITOR_KEPT);
    location.reload();
  });
  begin("visitor", client, panel);
}

/** @param {?Conversation} conversation */
function waiting(conversation) {
  const { status, queue } = conversation?.thread ?? {};
  if (status !== "queued") return "Visitor · talks to an agent";
  return queue ? `Visitor · number ${queue.position} in the queue` : "Visitor · waits for an agent";
}

async function openAgent() {
  const tokens = new StaffTokens({ admin: settings.admin, storage: sessionStorage, key: AGENT_TOKEN });
  if (tokens.isSignedIn) return startAgent(tokens);
  const form = place(sides.agent, "sign-in");
  for (const name of /** @type {const} */ (["email", "password", "admin"])) field(form, name).value = settings[name];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(form, tokens);
  });
  if (settings.email && settings.password) signIn(form, tokens);
}

/** @param {HTMLFormElement} form @param {StaffTokens} tokens */
async function signIn(form, tokens) {
  const error = /** @type {HTMLElement} */ (form.querySelector(".error"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  button.disabled = true;
  error.textContent = "";
  try {
    tokens.admin = field(form, "admin").value.replace(/\/$/, "");
    await tokens.signIn(field(form, "email").value, field(form, "password").value);
    startAgent(tokens);
  } catch (problem) {
    if (!(problem instanceof RequestError)) throw problem;
    error.textContent = problem.code === "unavailable" ? `${tokens.admin} does not answer` : problem.message;
    button.disabled = false;
  }
}

/** @param {StaffTokens} tokens */
function startAgent(tokens) {
  const client = new ChatClient({
    edges: [...settings.edges].reverse(), tokens, storage: sessionStorage, keepAs: AGENT_KEPT, status: "accepting",
  });
  /** @type {?Conversation} */
  let picked = null;
  const pick = () => {
    // What the agent chose, else the conversation with this page's visitor, else any.
    const { conversations } = client.store;
    const wanted = [picked?.id, clients.visitor?.own?.id].map((id) => conversations.get(id ?? ""));
    return wanted.find((one) => one) ?? mine(client).pop() ?? null;
  };
  const panel = new Panel(sides.agent, client, {
    title: () => client.store.me?.name ?? "Agent", initial: "S", placeholder: "Answer…", pick, draw,
    who: (conversation) => (conversation ? `talks to ${conversation.visitor?.name ?? "a visitor"}` : "waits for visitors"),
  });
  const accept = panel.addAction("", () => setStatus(client, panel));
  const close = panel.addAction("Close chat", () => {
    const conversation = pick();
    if (conversation) client.request("close_thread", { conversation_id: conversation.id }).catch(shown(panel));
  });
  const leave = panel.addAction("Sign out", () => {
    client.stop();
    tokens.signOut();
    sessionStorage.removeItem(AGENT_KEPT);
    location.reload();
  });

  function draw() {
    compare();
    const conversation = pick();
    panel.allow(mayWrite(conversation));
    close.disabled = !mayWrite(conversation);
    leave.disabled = false;
    accept.textContent = client.status === "accepting" ? "Pause" : "Accept chats";
    const nav = panel.find(".conversations");
    const own = mine(client);
    nav.hidden = own.length < 2;
    nav.replaceChildren(...own.map((one) => chip(one, one === conversation)));
  }

  /** @param {Conversation} conversation @param {boolean} isPicked */
  function chip(conversation, isPicked) {
    const { me } = client.store;
    const unread = me ? conversation.unread(me) : 0;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${conversation.visitor?.name ?? "Visitor"}${unread ? ` (${unread})` : ""}`;
    button.setAttribute("aria-pressed", String(isPicked));
    button.addEventListener("click", () => {
      picked = conversation;
      panel.draw();
      draw();
    });
    return button;
  }

  draw();
  begin("agent", client, panel);
}

/** @param {Client} client @param {Panel} panel */
async function setStatus(client, panel) {
  const status = client.status === "accepting" ? "not_accepting" : "accepting";
  try {
    await client.request("set_status", { status });
    client.status = status;
    panel.draw();
  } catch (error) {
    shown(panel)(error);
  }
}

/** @param {Client} client */
const mine = (client) => [...client.store.conversations.values()].filter((conversation) => conversation.mine);

/** Says what was refused where the person looks. @param {Panel} panel */
const shown = (panel) => (/** @type {unknown} */ error) => {
  panel.complain(error instanceof Error ? error.message : String(error));
};

/** @param {"visitor" | "agent"} side @param {Client} client @param {Panel} panel */
function begin(side, client, panel) {
  clients[side] = client;
  panels.push(panel);
  // Who points at a side or writes in it reads it.
  for (const moved of ["pointerenter", "focusin"]) {
    sides[side].addEventListener(moved, () => {
      for (const other of panels) other.isActive = other === panel;
      panel.draw();
    });
  }
  client.start();
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && client.hurry());
  addEventListener("online", () => client.hurry());
  addEventListener("pagehide", () => client.keep());
}

/** Whether both sides hold the same messages in the same order. */
function compare() {
  const { visitor, agent } = clients;
  const conversation = visitor?.own;
  const theirs = conversation && agent?.store.conversations.get(conversation.id);
  const badge = /** @type {HTMLElement} */ (document.getElementById("agree"));
  badge.hidden = !theirs;
  if (!theirs) return;
  const [one, other] = [conversation, theirs].map(said);
  const isSame = one.join() === other.join();
  badge.dataset.agree = isSame ? "yes" : "no";
  badge.textContent = isSame ? `Both sides hold the same ${one.length} messages` : `${one.length} here, ${other.length} there`;
}

/** @param {Conversation} conversation */
const said = (conversation) =>
  conversation.timeline.events
    .filter(({ kind, visibility }) => kind === "message" && visibility !== "agents")
    .map(({ seq, id }) => `${seq} ${id}`);

/** @param {HTMLElement} side @param {string} template */
function place(side, template) {
  side.replaceChildren(/** @type {HTMLTemplateElement} */ (document.getElementById(template)).content.cloneNode(true));
  return /** @type {HTMLFormElement} */ (side.querySelector("form"));
}

/** @param {HTMLFormElement} form @param {string} name */
const field = (form, name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));

if (settings.widget) {
  openVisitor();
  openAgent();
} else {
  askWidget();
}
