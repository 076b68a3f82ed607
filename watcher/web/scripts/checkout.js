// The live checkout: whatever the stream says, the page is asked for anew, so that only the server says how it stands.
(() => {
  "use strict";
  const root = () => document.getElementById("checkout");
  const left = { at: 0, seconds: 0 };
  let asking = false;
  let again = false;
  let timer;

  const prepare = () => {
    left.at = performance.now();
    left.seconds = Number(root().dataset.left);
    for (const button of document.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard;
  };

  async function refresh() {
    if (asking) return void (again = true);
    asking = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "omit" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("checkout");
      if (!fresh) return;
      const moved = fresh.dataset.state !== root().dataset.state;
      if (fresh.dataset.version === root().dataset.version && !moved) {
        root().dataset.left = fresh.dataset.left;
        left.at = performance.now();
        left.seconds = Number(fresh.dataset.left);
        return;
      }
      document.title = page.title;
      root().replaceWith(document.adoptNode(fresh));
      prepare();
      if (moved) root().querySelector("h1").focus({ preventScroll: true });
    } catch {
      // No connection: the next event, look or timer asks again.
    } finally {
      asking = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  }

  function listen() {
    clearInterval(timer);
    const address = location.pathname.replace(/\/pay\/([^/]+)\/?$/, "/v1/checkout/$1/events");
    const stream = new EventSource(`${address}?after=${root().dataset.version}`);
    stream.onmessage = refresh;
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) return;
      // Too many streams, or none at all: look every few seconds instead, and try again after a while.
      clearInterval(timer);
      timer = setInterval(refresh, 5000);
      setTimeout(listen, 60000);
    };
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return;
    }
    const word = button.firstElementChild;
    const before = word.textContent;
    if (before === button.dataset.done) return;
    word.textContent = document.getElementById("said").textContent = button.dataset.done;
    setTimeout(() => (word.textContent = before), 2000);
    setTimeout(() => (document.getElementById("said").textContent = ""), 2000);
  });

  // Seconds are counted near the end only; the server's own words stand until then.
  setInterval(() => {
    const shown = document.getElementById("left");
    const seconds = Math.max(0, Math.round(left.seconds - (performance.now() - left.at) / 1000));
    if (shown && left.seconds < 300) {
      shown.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    }
  }, 1000);

  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  addEventListener("pageshow", (event) => event.persisted && refresh());
  addEventListener("online", refresh);
  prepare();
  listen();
})();
