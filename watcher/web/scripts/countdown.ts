// The time that is left: counted here near the end only; before that the server's own words stand.
import { refresh, root } from "./parts.ts";

/** Left seconds below which they are counted, and how often the chain's clock is asked then. */
const URGENT = 300;
const RESYNC_SECONDS = 20;

let at = 0;
let left = 0;
let words = "";

/** Begin with what the server says now. */
export function countDown(): void {
  const shown = document.getElementById("left");
  const seconds = Number(root().dataset.left);
  // Written over by tick(): the words are read only where the server has just written them.
  if (shown && !/^\d+:\d\d$/.test(shown.textContent!)) words = shown.textContent!;
  at = performance.now();
  left = seconds;
  tick();
}

function tick(): void {
  const shown = document.getElementById("left");
  if (!shown || left >= URGENT || document.hidden) return;
  const gone = Math.round((performance.now() - at) / 1000);
  const seconds = left - gone;
  // The chain's clock decides, and stands still between two blocks: this one may be ahead of it.
  shown.textContent =
    seconds > 0 ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : words;
  if (gone > 0 && gone % RESYNC_SECONDS === 0) void refresh();
}

setInterval(tick, 1000);
