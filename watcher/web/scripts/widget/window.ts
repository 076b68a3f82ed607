// The window: a modal dialog with the page of a payment in a frame, and what it tells of it.
import { addressOf, type Target } from "./address.ts";
import { colorOf, dress, themeOf, type Theme } from "./look.ts";
import { FRAGMENT, read, type Status } from "./messages.ts";
import { textsFor } from "./texts.ts";

export interface Options extends Target, Theme {
  /** The payment has succeeded. For the eye only: goods go out on the webhook. */
  onSuccess?: ((status: Status) => void) | undefined;
  /** It expired, failed or was canceled. */
  onFailure?: ((status: Status) => void) | undefined;
  /** It stands otherwise than before. */
  onStatus?: ((status: Status) => void) | undefined;
  /** The window was closed; with how the payment stood, null if none had begun. */
  onClose?: ((status: Status | null) => void) | undefined;
}

export interface Handle {
  close(): void;
}

/** Milliseconds without a word of the page: from the start, and after the frame has loaded something. */
const PATIENCE = 15_000;
const GRACE = 3_000;

const NAME = "sbtc-pay-window";

/** Where the payer was, by the address that was opened: who closes the window and opens it again goes on there. */
const resumed = new Map<string, string>();
let current: PayWindow | undefined;

/** Open the window; of two calls for one address the second finds the first one's. */
export function open(options: Options, home: URL | undefined): Handle {
  const address = addressOf(options, home);
  if (current?.address.href === address.href) return current;
  current?.close();
  current = Object.assign(document.createElement(NAME) as PayWindow, { address, options });
  (document.body ?? document.documentElement).append(current);
  return current;
}

/** Define the window's element, once per page. */
export function define(): void {
  customElements.define(NAME, PayWindow);
}

class PayWindow extends HTMLElement implements Handle {
  address!: URL;
  options!: Options;
  private status: Status | null = null;
  private readonly ended = new Set<string>();
  private frame: HTMLIFrameElement | undefined;
  private dialog: HTMLDialogElement | undefined;
  private loading!: HTMLElement;
  private trouble!: HTMLElement;
  private words!: ReturnType<typeof textsFor>;
  /** How many pages of the frame have said that they are there, less those that were loaded: in any order. */
  private greetings = 0;
  private timer: number | undefined;
  private focused: Element | null = null;

  connectedCallback(): void {
    if (this.dialog) return;
    // A copy of the page that was taken while a window was open.
    if (!this.options) return this.remove();
    const { language, texts } = (this.words = textsFor(this.options.lang, document.documentElement.lang));
    this.focused = document.activeElement;
    const root = this.attachShadow({ mode: "open" });
    dress(this, root, "window", this.options);
    const retry = element("button", { type: "button" }, texts["widget.retry"]);
    const page = element("a", { href: this.address.href, target: "_blank", rel: "noopener" }, texts["widget.new_page"]);
    const close = element("button", { type: "button", "aria-label": texts["widget.close"] }, "×");
    this.loading = element("div", { class: "cover", role: "status" },
      element("div", { class: "spin" }), element("p", {}, texts["widget.loading"]));
    this.trouble = element("div", { class: "cover", role: "alert", hidden: "" },
      element("p", {}, texts["widget.trouble"]), element("div", { class: "actions" }, retry, page));
    this.dialog = element("dialog", { lang: language, "aria-label": texts["widget.title"] },
      element("div", { class: "bar" }, close),
      element("div", { class: "body" }, this.loading, this.trouble));
    root.append(this.dialog);
    retry.onclick = () => this.load();
    close.onclick = () => this.close();
    // Escape, where it is the window that has the focus; in the frame its page says so.
    this.dialog.onclose = () => this.close();
    addEventListener("message", this);
    this.dialog.showModal();
    this.load();
  }

  /** The window was closed, or whoever made the page anew took it out. */
  disconnectedCallback(): void {
    removeEventListener("message", this);
    clearTimeout(this.timer);
    if (current !== this) return;
    current = undefined;
    this.tell(this.options.onClose, this.status);
  }

  close(): void {
    if (!this.isConnected) return;
    this.dialog!.onclose = null;
    this.dialog!.close();
    this.remove();
    if (this.focused instanceof HTMLElement && this.focused.isConnected) this.focused.focus();
  }

  /** Ask for the page, the first time or anew. */
  private load(): void {
    this.frame?.remove();
    this.greetings = 0;
    this.cover(this.loading);
    const title = this.words.texts["widget.title"];
    const frame = element("iframe", { title, allow: "clipboard-write", referrerpolicy: "no-referrer" });
    this.frame = frame;
    const fragment = new URLSearchParams({ [FRAGMENT.parent]: location.origin });
    const [theme, color] = [themeOf(this.options), colorOf(this.options)];
    if (theme) fragment.set(FRAGMENT.theme, theme);
    if (color) fragment.set(FRAGMENT.color, color);
    const page = new URL(resumed.get(this.address.href) ?? this.address.href);
    page.searchParams.set("lang", this.words.language);
    page.hash = String(fragment);
    frame.src = page.href;
    // What cannot be shown is loaded, too, as the browser's own page: it says nothing, now or after a form.
    frame.onload = () => {
      if (--this.greetings < 0) this.wait(GRACE);
    };
    this.wait(PATIENCE);
    this.loading.parentElement!.prepend(frame);
  }

  private wait(time: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.cover(this.trouble);
      const { origin } = this.address;
      console.warn(`sbtc-pay: nothing of ${origin} is shown. Is ${location.origin} among the merchant's allowed origins?`);
    }, time);
  }

  private cover(shown?: HTMLElement): void {
    clearTimeout(this.timer);
    for (const cover of [this.loading, this.trouble]) cover.hidden = cover !== shown;
  }

  handleEvent(event: MessageEvent): void {
    const { origin } = this.address;
    if (event.origin !== origin || !this.frame || event.source !== this.frame.contentWindow) return;
    const message = read(event.data, origin);
    switch (message?.type) {
      case "ready":
        this.greetings++;
        this.cover();
        if (this.shadowRoot!.activeElement !== this.frame) this.frame.focus();
        break;
      case "height":
        this.frame.style.height = `${message.height}px`;
        break;
      case "status":
        this.follow(message);
        break;
      case "leave":
      case "close":
        this.close();
    }
  }

  private follow({ state, paymentIntent, checkoutUrl }: Status): void {
    const was = this.status;
    if (was?.state === state && was.paymentIntent === paymentIntent) return;
    const status = (this.status = Object.freeze({ state, paymentIntent, checkoutUrl }));
    const failed = state === "expired" || state === "failed" || state === "canceled";
    if (failed || state === "paid") resumed.delete(this.address.href);
    else resumed.set(this.address.href, checkoutUrl);
    this.tell(this.options.onStatus, status);
    if (state === "paid") this.end("", this.options.onSuccess, status);
    if (failed) this.end(paymentIntent, this.options.onFailure, status);
  }

  private end(what: string, callback: Options["onSuccess"], status: Status): void {
    if (this.ended.has(what)) return;
    this.ended.add(what);
    this.tell(callback, status);
  }

  /** Call the shop's function when all is done here: it may open another window, and what it throws is its own. */
  private tell<T>(callback: ((value: T) => void) | undefined, value: T): void {
    if (callback) void Promise.resolve(value).then(callback);
  }
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Record<string, string>, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}
