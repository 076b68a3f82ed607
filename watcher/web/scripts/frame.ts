// The page in a shop's frame: it tells the shop's page how the payment stands, and looks as that asks. Only a page of
// an origin that the merchant allows is told anything; nothing that is posted to this page is read.
import { FRAGMENT, wrap, type Message, type State } from "./widget/messages.ts";

const allowed = (document.currentScript as HTMLScriptElement).dataset.origins!.split(" ");
const fragment = location.hash;
const parameters = new URLSearchParams(fragment.slice(1));
const origin = parameters.get(FRAGMENT.parent);
let told = "";
let height = 0;

function tell(message: Message): void {
  if (origin && allowed.includes(origin)) parent.postMessage(wrap(message), origin);
}

function tellStatus(): void {
  const { state, intent } = document.getElementById("checkout")?.dataset ?? {};
  if (!state || !intent || told === state + intent) return;
  told = state + intent;
  const checkoutUrl = location.origin + location.pathname;
  tell({ type: "status", state: state as State, paymentIntent: intent, checkoutUrl });
}

function tellHeight(): void {
  const now = Math.ceil(document.body.getBoundingClientRect().height);
  if (now !== height) tell({ type: "height", height: (height = now) });
}

/** Look as the shop asks: light or dark whatever the system says, and with its color. */
function dress(): void {
  const [theme, color] = [parameters.get(FRAGMENT.theme), parameters.get(FRAGMENT.color)];
  if (theme === "light" || theme === "dark") {
    document.querySelector<HTMLMetaElement>("meta[name=color-scheme]")!.content = theme;
    for (const sheet of document.styleSheets) {
      for (const rule of sheet.cssRules) {
        if (rule instanceof CSSMediaRule && rule.media.mediaText.includes("prefers-color-scheme: dark")) {
          rule.media.mediaText = theme === "dark" ? "all" : "not all";
        }
      }
    }
  }
  if (color && /^[0-9a-f]{6}$/.test(color)) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = `assets/brand-${color}.css`;
    document.head.append(style);
  }
}

/** Open links where they belong: back to the shop in the whole window, others beside it; ours stay here. */
function aim(event: MouseEvent): void {
  const link = (event.target as Element).closest<HTMLAnchorElement>("a[href]");
  if (!link || link.target || link.protocol === "mailto:") return;
  if (link.dataset.back !== undefined) {
    link.target = "_top";
    // After the browser has begun to go there; in a tab of its own it is no leaving.
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) setTimeout(() => tell({ type: "leave" }));
  } else if (link.origin !== location.origin) {
    link.target = "_blank";
    link.relList.add("noopener");
  } else if (!link.hash) link.hash = fragment;
}

if (parent !== window) {
  document.documentElement.classList.add("in-frame");
  dress();
  document.addEventListener("click", aim, true);
  document.addEventListener("submit", ({ target }) => {
    const form = target as HTMLFormElement;
    const action = new URL(form.getAttribute("action") ?? "", location.href);
    action.hash = fragment;
    form.setAttribute("action", action.href);
  }, true);
  document.addEventListener("keydown", (event) => {
    const own = event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]");
    if (event.key === "Escape" && !own) tell({ type: "close" });
  });
  tell({ type: "ready" });
  tellStatus();
  new MutationObserver(tellStatus).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["data-state", "data-intent"],
  });
  new ResizeObserver(tellHeight).observe(document.body);
}
