// What the address of the page says after its `#`, which no server sees: which widget, which edges, who the agent is.
//
// A password is taken out of the address at once, so that it is in no bookmark and in no history.

/** @typedef {{widget: string, edges: string[], admin: string, email: string, password: string}} Settings */

/** @returns {Settings} */
export function takeSettings() {
  const given = new URLSearchParams(location.hash.slice(1));
  const password = given.get("password") ?? "";
  if (password) {
    given.delete("password");
    history.replaceState(null, "", `#${given}`);
  }
  const others = (given.get("edges") ?? "").split(",").filter((edge) => edge.startsWith("http"));
  return {
    widget: given.get("widget") ?? "",
    edges: [...new Set([location.origin, ...others])],
    admin: given.get("admin") ?? `${location.protocol}//${location.hostname}:7701`,
    email: given.get("email") ?? "",
    password,
  };
}

/** @param {string} widget */
export function reopenWith(widget) {
  const given = new URLSearchParams(location.hash.slice(1));
  given.set("widget", widget);
  location.hash = String(given);
  location.reload();
}
