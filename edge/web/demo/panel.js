// One side of the demo: draws a client's state, and turns what a person does into its calls.
//
// It keeps nothing but what is on the screen: each change draws all of it from the client anew.

import { isOpen, lines } from "/widget.js";

/**
 * @typedef {import("../widget/client.js").ChatClient} ChatClient
 * @typedef {import("../widget/conversation.js").Conversation} Conversation
 * @typedef {ReturnType<typeof lines>[number]} Line
 */

const SVG = "http://www.w3.org/2000/svg";
const CHECK = "M1 6.5 4 9.5 10 2.5";
const SECOND_CHECK = "M7.5 9 8 9.5 14.5 2.5";
const CLOCK = "M9 1.5a4.5 4.5 0 1 0 .01 0M9 3.5V6L10.8 7.2";
const TICKS = {
  waiting: { label: "Not sent yet", paths: [CLOCK] },
  sent: { label: "Sent", paths: [CHECK] },
  delivered: { label: "Delivered", paths: [CHECK, SECOND_CHECK] },
  read: { label: "Read", paths: [CHECK, SECOND_CHECK] },
  failed: { label: "Not sent", paths: [] },
};
/** Pixels from the end that still count as reading the end. */
const AT_END = 60;
/** Reconnecting is counted down this often. */
const REDRAW_MS = 500;

export class Panel {
  /** The person looks at this side. */
  isActive = false;
  #root;
  #client;
  #pick;
  #title;
  #who;
  #complaint = "";
  /** @type {Map<string, HTMLElement>} */
  #drawn = new Map();

  /**
   * @param {HTMLElement} root
   * @param {ChatClient} client
   * @param {{title: () => string, initial: string, who: (conversation: ?Conversation) => string, placeholder: string,
   *   pick: () => ?Conversation, draw?: () => void}} options
   */
  constructor(root, client, { title, initial, who, placeholder, pick, draw }) {
    this.#root = root;
    this.#client = client;
    this.#pick = pick;
    this.#title = title;
    this.#who = who;
    root.replaceChildren(/** @type {HTMLTemplateElement} */ (document.getElementById("panel")).content.cloneNode(true));
    this.find(".avatar").textContent = initial;
    const field = /** @type {HTMLTextAreaElement} */ (this.find("textarea"));
    field.placeholder = placeholder;
    field.addEventListener("input", () => this.#typed(field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send(field);
    });
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(field);
    });
    this.find(".cut").addEventListener("click", () => (this.#isCut ? client.start() : client.stop("cut")));
    client.subscribe(() => {
      this.draw();
      draw?.();
    });
    setInterval(() => client.state.name === "waiting" && this.#drawState(), REDRAW_MS);
    this.draw();
  }

  /** @param {string} selector @returns {HTMLElement} */
  find(selector) {
    return /** @type {HTMLElement} */ (this.#root.querySelector(selector));
  }

  /** @param {string} label @param {() => void} does */
  addAction(label, does) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
    button.addEventListener("click", () => {
      this.complain("");
      does();
    });
    this.find(".actions").append(button);
    return button;
  }

  /** Says what was refused, until the next try. @param {string} text */
  complain(text) {
    this.#complaint = text;
    this.draw();
  }

  get #isCut() {
    return this.#client.state.name === "stopped" || this.#client.state.name === "idle";
  }

  /** @param {HTMLTextAreaElement} field */
  #send(field) {
    const text = field.value.trim();
    if (!text) return;
    this.#client.send(this.#pick()?.id ?? null, text);
    field.value = "";
    this.find(".lines").scrollTop = Number.MAX_SAFE_INTEGER;
  }

  /** @param {string} text */
  #typed(text) {
    const conversation = this.#pick();
    if (conversation) this.#client.typed(conversation.id, text);
  }

  draw() {
    const conversation = this.#pick();
    const { me } = this.#client.store;
    if (this.isActive && conversation && document.visibilityState === "visible") this.#client.read(conversation.id);
    this.#drawState();
    this.#drawLines(lines(conversation, this.#client.unsent(conversation?.id ?? null), me));
    this.#drawTyping(conversation);
    this.find("h2").textContent = this.#title();
    this.find(".who").textContent = this.#who(conversation);
    const unread = conversation && me ? conversation.unread(me) : 0;
    this.find(".unread").hidden = unread === 0;
    this.find(".unread").textContent = String(unread);
    this.find(".unread").title = `${unread} unread`;
    const { resumed, resets } = this.#client.store.counts;
    const events = conversation?.timeline.events.length ?? 0;
    const facts = [`${events} events`, resumed && `resumed ${resumed}×`, resets && `reset ${resets}×`];
    this.find(".facts").textContent = this.#complaint || facts.filter(Boolean).join(" · ");
    this.find(".facts").toggleAttribute("data-complains", this.#complaint !== "");
  }

  #drawState() {
    const { name, url, until, reason } = this.#client.state;
    const edge = url ? new URL(url).host : "";
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    const words = {
      idle: "Not connected", connecting: "Connecting…", login: "Signing in…", live: `Live on ${edge}`,
      waiting: `Again in ${seconds} s…`, stopped: reason === "cut" ? "Cut off" : `Stopped: ${reason}`,
    };
    const badge = this.find(".connection");
    badge.dataset.state = name;
    badge.dataset.edge = edge;
    const label = /** @type {HTMLElement} */ (badge.querySelector("span"));
    if (label.textContent !== words[name]) label.textContent = words[name];
    const cut = this.find(".cut");
    cut.textContent = this.#isCut ? "Reconnect" : "Cut connection";
    cut.setAttribute("aria-pressed", String(this.#isCut));
  }

  /** @param {Line[]} shown */
  #drawLines(shown) {
    const list = this.find(".lines");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < AT_END;
    const keys = new Set(shown.map((line) => line.key));
    for (const [key, element] of this.#drawn) {
      if (keys.has(key)) continue;
      element.remove();
      this.#drawn.delete(key);
    }
    let before = list.firstElementChild;
    for (const line of shown) {
      const told = line.type === "note" ? this.#told(line.kind, line.data) : "";
      const version = JSON.stringify([line, told]);
      let element = this.#drawn.get(line.key);
      if (element?.dataset.version !== version) {
        const fresh = this.#line(line, told);
        fresh.dataset.version = version;
        if (element === before) before = fresh;
        element?.replaceWith(fresh);
        this.#drawn.set(line.key, fresh);
        element = fresh;
      }
      if (element === before) before = before.nextElementSibling;
      else list.insertBefore(element, before);
    }
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  /** @param {Line} line @param {string} told */
  #line(line, told) {
    const item = document.createElement("li");
    item.className = line.type;
    item.dataset.seq = String(line.seq);
    if (line.type === "note") {
      item.textContent = told;
      return item;
    }
    item.classList.toggle("own", line.isOwn);
    item.classList.toggle("deleted", line.deleted);
    if (line.tick) item.dataset.tick = line.tick;
    const text = document.createElement("p");
    text.textContent = line.deleted ? "Deleted" : line.text;
    item.append(text, this.#meta(line));
    return item;
  }

  /** @param {Extract<Line, {type: "message"}>} line */
  #meta(line) {
    const meta = document.createElement("div");
    meta.className = "meta";
    const time = document.createElement("time");
    time.dateTime = new Date(line.at).toISOString();
    time.textContent = new Date(line.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    meta.append(line.edited ? "edited " : "", time);
    if (line.error) {
      const again = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
      again.addEventListener("click", () => this.#client.retry(line.key));
      meta.prepend(`${TICKS.failed.label}: ${line.error} `, again);
    } else if (line.tick) {
      meta.append(icon(TICKS[line.tick]));
    }
    return meta;
  }

  /** @param {string} kind @param {any} data */
  #told(kind, data) {
    const { store } = this.#client;
    const isMe = store.me?.type === "agent" && store.me.id === data.agent_id;
    const agent = (isMe ? store.me?.name : store.nameOf({ type: "agent", id: data.agent_id })) ?? "An agent";
    /** @type {Record<string, string>} */
    const words = {
      started: "The conversation began", queued: "Waiting for an agent", assigned: `${agent} is here`,
      transferred: "Handed over", joined: `${agent} joined`, left: `${agent} left`, agent_lost: `${agent} lost the connection`,
      closed: "The conversation was closed", reopened: "Opened again",
    };
    return words[kind] ?? kind;
  }

  /** @param {?Conversation} conversation */
  #drawTyping(conversation) {
    const typing = conversation ? this.#client.heard.in(conversation.id, Date.now()) : [];
    const place = this.find(".typing");
    place.dataset.typing = String(typing.length);
    if (!typing.length) return place.replaceChildren();
    const [{ author, text }] = typing;
    const name = this.#client.store.nameOf(author) ?? (author.type === "visitor" ? "The visitor" : "The agent");
    const words = text ? `${name} writes: ${text}` : `${name} is typing`;
    if (place.textContent === words) return;
    const dots = document.createElement("span");
    dots.append(...[0, 1, 2].map(() => document.createElement("i")));
    place.replaceChildren(dots, words);
  }

  /** Nothing can be said in a conversation that is over, or before there is one. @param {boolean} isAllowed */
  allow(isAllowed) {
    for (const part of this.#root.querySelectorAll(".composer textarea, .composer button")) {
      /** @type {HTMLButtonElement} */ (part).disabled = !isAllowed;
    }
  }
}

/** @param {?Conversation} conversation */
export const mayWrite = (conversation) => isOpen(conversation?.thread);

/** @param {{label: string, paths: string[]}} tick */
function icon({ label, paths }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 12");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
