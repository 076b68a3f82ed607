// Word of changes: a stream of events, else requests that wait for a change, else a look every few seconds.
import { refresh, root, secondsOf, showOffline } from "./parts.ts";

/** Milliseconds between two looks where nothing else is left, and of a page that nobody sees. */
const LOOK = 5_000;
const LOOK_HIDDEN = 60_000;
/** How long one request waits for a change, seconds, and how long such requests stand in for a stream. */
const WAIT_SECONDS = 25;
const STREAM_AGAIN = 60_000;
/** How long a stream may be broken before that is said. */
const BROKEN = 3_000;
/** How many pages of one browser may hold a connection: over HTTP/1.1 it has six for one host. */
const PLACES = 4;

/** Where the server says how the checkout of this page stands. */
export const API = location.pathname.replace(/\/pay\/([^/]+)\/?$/, "/v1/checkout/$1");

/** Follow the checkout as long as the page is there. */
export async function follow(): Promise<void> {
  for (;;) {
    if (document.hidden) {
      await Promise.race([pause(LOOK_HIDDEN), shown()]);
    } else if (!(await inPlace(hold))) {
      await pause(LOOK);
    }
    await refresh();
  }
}

/** Hold a connection until the page is hidden, or until it is time for another try. */
async function hold(): Promise<void> {
  const hidden = new AbortController();
  const stop = () => document.hidden && hidden.abort();
  document.addEventListener("visibilitychange", stop);
  try {
    await stream(hidden.signal);
    const end = performance.now() + STREAM_AGAIN;
    while (!hidden.signal.aborted && performance.now() < end) await waitForChange(hidden.signal);
  } finally {
    document.removeEventListener("visibilitychange", stop);
  }
}

/** Listen until the server refuses, or until `signal`. The browser itself connects anew where a stream breaks. */
function stream(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const source = new EventSource(`${API}/events?after=${root().dataset.version}`);
    let broken: number | undefined;
    const end = () => {
      clearTimeout(broken);
      source.close();
      done();
    };
    signal.addEventListener("abort", end);
    source.onopen = () => {
      clearTimeout(broken);
      broken = undefined;
      showOffline(false);
    };
    source.onmessage = () => void refresh();
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) return end();
      // Each further try of the browser fails here again; the first failure counts.
      broken ??= setTimeout(() => {
        broken = undefined;
        void refresh();
      }, BROKEN);
    };
  });
}

async function waitForChange(signal: AbortSignal): Promise<void> {
  const version = root().dataset.version;
  let seconds = 0;
  try {
    const answer = await fetch(`${API}?wait=${WAIT_SECONDS}s&after=${version}`, {
      cache: "no-store",
      credentials: "omit",
      signal,
    });
    if (!answer.ok) seconds = secondsOf(answer);
    else if ((await answer.json()).version !== version) await refresh();
  } catch {
    seconds = LOOK / 1000;
  }
  if (seconds && !signal.aborted) {
    await pause(seconds * 1000);
    await refresh();
  }
}

/** Do `work` in one of the places that the pages of this browser share; false when all are taken. */
async function inPlace(work: () => Promise<void>): Promise<boolean> {
  if (!navigator.locks) return work().then(() => true);
  for (let place = 0; place < PLACES; place++) {
    let refused = false;
    const took = navigator.locks
      .request(`checkout-${place}`, { ifAvailable: true }, async (lock) => {
        if (lock) await work();
        return lock !== null;
      })
      .catch(() => (refused = true));
    if (await took) return refused ? work().then(() => true) : true;
  }
  return false;
}

function shown(): Promise<void> {
  return new Promise((done) => document.addEventListener("visibilitychange", () => done(), { once: true }));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
