// The dashboard without scripts is whole; these make it nicer: copying, local times, and regions that stay fresh.
import { showCopyButtons, watchCopyButtons } from "./copy.ts";

/** Show times in the reader's own zone; UTC stays in the title. */
function showLocalTimes(root: ParentNode): void {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll<HTMLTimeElement>("time[datetime]:not([title])")) {
    time.title = time.textContent ?? "";
    time.textContent = format.format(new Date(time.dateTime));
  }
}

/** Whether somebody is busy in a region: replacing it would take away what they do. */
function isBusy(region: Element): boolean {
  return region.contains(document.activeElement) || region.querySelector("details[open]") !== null;
}

/**
 * Ask for this page again every few seconds and replace the regions <div id="…" data-live="5"> that changed. While the
 * page is hidden nothing is asked, nor while an answer is awaited.
 */
function keepFresh(): void {
  const seconds = [...document.querySelectorAll<HTMLElement>("[data-live]")].map((one) => Number(one.dataset.live));
  if (!seconds.length) return;
  const timer = setInterval(() => void look(), Math.max(2, Math.min(...seconds)) * 1000);
  let isAsking = false;
  async function look(): Promise<void> {
    // What is over stays as it is.
    if (!document.querySelector("[data-live]")) return clearInterval(timer);
    if (document.hidden || isAsking) return;
    isAsking = true;
    try {
      const answer = await fetch(location.href, { headers: { "x-refresh": "1" }, cache: "no-store", redirect: "error" });
      if (answer.status === 401) {
        clearInterval(timer);
        location.reload();
      }
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // No connection: the next look asks again.
    } finally {
      isAsking = false;
    }
  }
}

/** Whose things a page shows. */
function viewed(page: Document): string | undefined {
  return page.querySelector<HTMLElement>("[data-viewed]")?.dataset.viewed;
}

function replace(page: Document): void {
  // Another tab has turned to another merchant: two merchants on one page would be taken for each other.
  const others = viewed(page);
  if (others !== undefined && others !== viewed(document)) return location.reload();
  for (const region of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(region.id);
    if (!fresh || isBusy(region)) continue;
    showLocalTimes(fresh);
    for (const button of fresh.querySelectorAll<HTMLElement>("button.copy")) button.hidden = !navigator.clipboard;
    if (fresh.innerHTML !== region.innerHTML) region.replaceWith(document.adoptNode(fresh));
  }
}

/** A form is sent once, however often its button is pressed. */
function sendOnce(): void {
  document.addEventListener("submit", (event) => {
    const form = event.target as HTMLFormElement;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  // Back from the next page, it can be sent again.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll<HTMLFormElement>("form[data-sent]")) delete form.dataset.sent;
  });
}

/** Say why the sign-in does nothing where the page came without encryption: its policy keeps the form back. */
function warnUnencrypted(): void {
  const warning = document.getElementById("unencrypted");
  if (warning) warning.hidden = location.protocol === "https:";
}

watchCopyButtons();
showCopyButtons();
showLocalTimes(document);
sendOnce();
warnUnencrypted();
keepFresh();
