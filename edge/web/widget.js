// What a page imports: `import { ChatClient, VisitorTokens } from "https://<edge>/widget.js"`.

export { ChatClient } from "./widget/client.js";
export { lines } from "./widget/display.js";
export { visitorKey } from "./widget/keep.js";
export { RequestError, isOpen, keyOf } from "./widget/protocol.js";
export { StaffTokens, VisitorTokens } from "./widget/tokens.js";
