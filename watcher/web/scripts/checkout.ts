// The live checkout: whatever the stream says, the page is asked for anew, so that only the server says how it stands.
import { showCopyButtons, watchCopyButtons } from "./copy.ts";
import { countDown } from "./countdown.ts";
import { API, follow } from "./live.ts";
import { refresh, watchParts } from "./parts.ts";
import { showLocalTimes } from "./times.ts";
import { forgetWallet, showWallets, watchWallets } from "./wallet_button.ts";

function prepare(moved = false): void {
  if (moved) forgetWallet();
  showWallets();
  showCopyButtons();
  showLocalTimes();
  countDown();
  for (const button of document.querySelectorAll<HTMLButtonElement>("button.print")) {
    button.hidden = false;
    button.onclick = () => print();
  }
}

watchParts(prepare);
watchCopyButtons();
watchWallets(() => `${API}/call`);
prepare();
document.addEventListener("visibilitychange", () => document.hidden || void refresh());
addEventListener("focus", () => void refresh());
addEventListener("online", () => void refresh());
addEventListener("pageshow", (event) => event.persisted && void refresh());
void follow();
