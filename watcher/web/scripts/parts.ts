// What the page shows, part by part: asked for anew, and replaced where the server says something else.

/** Milliseconds before a page that did not come is asked for again: doubled up to the most. */
const FIRST_RETRY = 2_000;
const LONGEST_RETRY = 15_000;
/** How long an answer may take, milliseconds. */
const LONGEST_ANSWER = 20_000;

const served = new Map<string, string>();
let changed: (moved: boolean) => void = () => {};
let asking = false;
let again = false;
let wait = FIRST_RETRY;
let retry: number | undefined;
/** When a server that has said so may be asked again. */
let notBefore = 0;

export function root(): HTMLElement {
  return document.getElementById("checkout")!;
}

/** Remember what the server sent, before anything is changed here; `then` is called after each replacement. */
export function watchParts(then: (moved: boolean) => void): void {
  changed = then;
  for (const [name, part] of partsOf(document)) served.set(name, part.innerHTML);
}

/** Ask for the page, and show what is new in it. */
export async function refresh(): Promise<void> {
  if (performance.now() < notBefore) return;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  clearTimeout(retry);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LONGEST_ANSWER);
  try {
    const answer = await fetch(location.href, { cache: "no-store", credentials: "omit", signal: late.signal });
    const html = await answer.text();
    showOffline(false);
    if (answer.ok) {
      wait = FIRST_RETRY;
      replace(new DOMParser().parseFromString(html, "text/html"));
    } else if (answer.status === 404) location.reload();
    else {
      notBefore = performance.now() + secondsOf(answer) * 1000;
      later(secondsOf(answer) * 1000);
    }
  } catch {
    showOffline(true);
    later(wait);
    wait = Math.min(2 * wait, LONGEST_RETRY);
  } finally {
    clearTimeout(timer);
    asking = false;
    if (again) {
      again = false;
      void refresh();
    }
  }
}

/** Say, or no longer say, that there is no connection. */
export function showOffline(is: boolean): void {
  const place = document.getElementById("offline")!;
  const text = is ? place.dataset.say! : "";
  if (place.textContent !== text) place.textContent = text;
}

/** How long a refused request is to wait, seconds. */
export function secondsOf(answer: Response): number {
  const asked = Number(answer.headers.get("retry-after") ?? 10);
  return Math.min(Math.max(Number.isFinite(asked) ? asked : 10, 1), 120);
}

function later(milliseconds: number): void {
  clearTimeout(retry);
  retry = setTimeout(() => void refresh(), milliseconds + 1);
}

function replace(page: Document): void {
  const fresh = page.getElementById("checkout");
  if (!fresh) return;
  const moved = fresh.dataset.state !== root().dataset.state;
  const now = partsOf(page);
  const shown = partsOf(document);
  document.title = page.title;
  if ([...now.keys()].join() !== [...shown.keys()].join() || release(page) !== release(document)) {
    return location.reload();
  }
  for (const name of root().getAttributeNames()) if (!fresh.hasAttribute(name)) root().removeAttribute(name);
  for (const { name, value } of [...fresh.attributes]) root().setAttribute(name, value);
  const active = focusPlace();
  for (const [name, part] of now) {
    const html = part.innerHTML;
    if (html === served.get(name)) continue;
    served.set(name, html);
    shown.get(name)!.replaceChildren(...[...part.childNodes].map((node) => document.adoptNode(node)));
  }
  changed(moved);
  if (moved) root().querySelector("h1")?.focus({ preventScroll: true });
  else if (document.activeElement === document.body) active?.()?.focus({ preventScroll: true });
}

/** Return what finds the element that has the focus again, where its part is replaced. */
function focusPlace(): (() => HTMLElement | null | undefined) | undefined {
  const active = document.activeElement as HTMLElement;
  const part = active.closest<HTMLElement>("[data-part]");
  if (active.id) return () => document.getElementById(active.id);
  const place = part ? focusable(part).indexOf(active) : -1;
  return place < 0 ? undefined : () => focusable(part!)[place];
}

function focusable(part: HTMLElement): HTMLElement[] {
  return [...part.querySelectorAll<HTMLElement>("a, button, summary, h1")];
}

/** Return the names of a page's scripts, which change with them; those that wallets put into pages are not ours. */
function release(page: Document): string {
  return [...page.querySelectorAll('script[src^="assets/"]')].map((script) => script.getAttribute("src")).join();
}

function partsOf(page: Document): Map<string, HTMLElement> {
  return new Map([...page.querySelectorAll<HTMLElement>("[data-part]")].map((part) => [part.dataset.part!, part]));
}
