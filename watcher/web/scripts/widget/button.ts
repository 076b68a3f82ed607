// <sbtc-pay link="…"> or <sbtc-pay checkout-url="…">: a button that opens the window. What stands in the element is
// shown until the script is there, and where it never comes.
import { dress } from "./look.ts";
import type { Status } from "./messages.ts";
import { textsFor } from "./texts.ts";
import { open, type Handle } from "./window.ts";

const ATTRIBUTES = ["theme", "color", "radius", "text", "logo", "lang", "disabled"];

/** Define the element, once per page; `home` is the folder of the script. */
export function define(home: URL | undefined): void {
  class PayButton extends HTMLElement {
    static readonly observedAttributes = ATTRIBUTES;
    private readonly button = document.createElement("button");
    private opened: Handle | undefined;

    constructor() {
      super();
      this.attachShadow({ mode: "open", delegatesFocus: true }).append(this.button);
      this.button.type = "button";
      this.button.setAttribute("part", "button");
      this.button.onclick = () => void this.open();
    }

    connectedCallback(): void {
      this.render();
    }

    /** Close what was opened, when the element leaves the page; one that is only moved stays. */
    disconnectedCallback(): void {
      queueMicrotask(() => this.isConnected || this.opened?.close());
    }

    attributeChangedCallback(): void {
      if (this.isConnected) this.render();
    }

    /** Open the window. Throws a TypeError where the attributes name no page. */
    open(): Handle {
      const attribute = (name: string) => this.getAttribute(name);
      const tell = (type: string) => (detail: Status | null) => {
        this.dispatchEvent(new CustomEvent(type, { detail }));
      };
      this.opened = open({
        checkoutUrl: attribute("checkout-url"),
        link: attribute("link"),
        server: attribute("server"),
        ...this.theme(),
        onSuccess: tell("success"),
        onFailure: tell("failure"),
        onStatus: tell("status"),
        onClose: tell("close"),
      }, home);
      return this.opened;
    }

    private theme() {
      const [theme, color, radius, text, logo] = ATTRIBUTES.map((name) => this.getAttribute(name));
      return { theme, color, radius, text, logo, lang: this.closest<HTMLElement>("[lang]")?.lang };
    }

    private render(): void {
      const theme = this.theme();
      dress(this, this.shadowRoot!, "button", theme);
      this.button.disabled = this.hasAttribute("disabled");
      this.button.replaceChildren(theme.text || textsFor(theme.lang).texts["widget.pay"]);
      const address = document.createElement("a");
      address.href = theme.logo ?? "";
      if (!theme.logo || !/^https?:$/.test(address.protocol)) return;
      const logo = document.createElement("img");
      logo.alt = "";
      logo.src = theme.logo;
      logo.setAttribute("part", "logo");
      this.button.prepend(logo);
    }
  }
  customElements.define("sbtc-pay", PayButton);
}
