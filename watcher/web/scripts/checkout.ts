// The live checkout: whatever the stream says, the page is asked for anew, so that only the server says how it stands.
import { watchCopyButtons, showCopyButtons } from "./copy.ts";
import { forgetWallet, showWallets, watchWallets } from "./wallet_button.ts";

/** Milliseconds between two looks where there is no stream, and until a stream is tried again. */
const LOOK = 5_000;
const STREAM_AGAIN = 60_000;
/** Left seconds below which the page counts them; the server's own words stand until then. */
const URGENT = 300;

const left = { at: 0, seconds: 0 };
let asking = false;
let again = false;
let timer: number | undefined;

function root(): HTMLElement {
  return document.getElementById("checkout")!;
}

function count(seconds: string | undefined): void {
  left.at = performance.now();
  left.seconds = Number(seconds);
}

function prepare(): void {
  count(root().dataset.left);
  showCopyButtons();
  showWallets();
}

/** Return the address of what the server says of this checkout. */
function api(name: string): string {
  return location.pathname.replace(/\/pay\/([^/]+)\/?$/, `/v1/checkout/$1/${name}`);
}

async function refresh(): Promise<void> {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store", credentials: "omit" });
    if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // No connection: the next event, look or timer asks again.
  } finally {
    asking = false;
    if (again) {
      again = false;
      void refresh();
    }
  }
}

function replace(page: Document): void {
  const fresh = page.getElementById("checkout");
  if (!fresh) return;
  const moved = fresh.dataset.state !== root().dataset.state;
  if (fresh.dataset.version === root().dataset.version && !moved) {
    root().dataset.left = fresh.dataset.left;
    count(fresh.dataset.left);
    return;
  }
  document.title = page.title;
  const focused = document.activeElement?.id;
  if (moved) forgetWallet();
  root().replaceWith(document.adoptNode(fresh));
  prepare();
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (moved) root().querySelector("h1")?.focus({ preventScroll: true });
}

function listen(): void {
  clearInterval(timer);
  const stream = new EventSource(`${api("events")}?after=${root().dataset.version}`);
  stream.onmessage = () => void refresh();
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return;
    // Too many streams, or none at all: look every few seconds instead, and try again after a while.
    clearInterval(timer);
    timer = setInterval(() => void refresh(), LOOK);
    setTimeout(listen, STREAM_AGAIN);
  };
}

function tick(): void {
  const shown = document.getElementById("left");
  if (!shown || left.seconds >= URGENT) return;
  const seconds = Math.max(0, Math.round(left.seconds - (performance.now() - left.at) / 1000));
  shown.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

watchCopyButtons();
watchWallets(() => api("call"));
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) void refresh();
});
addEventListener("pageshow", (event) => {
  if (event.persisted) void refresh();
});
addEventListener("online", () => void refresh());
prepare();
listen();
