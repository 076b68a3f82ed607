// What the page in the frame tells the page around it: objects, posted to that page's own origin only.
// Nothing goes the other way: what the frame needs to know stands in the fragment of its address.

/** Version of the messages; a page that speaks another one is not understood. */
export const VERSION = 1;

export const STATES = [
  "waiting", "seen", "underpaid", "closing", "confirming", "paid", "expired", "failed", "canceled",
] as const;
export type State = (typeof STATES)[number];

/** How a payment stands, as the checkout's page shows it. */
export interface Status {
  readonly state: State;
  readonly paymentIntent: string;
  readonly checkoutUrl: string;
}

export type Message =
  | { type: "ready" }
  | { type: "height"; height: number }
  | ({ type: "status" } & Status)
  | { type: "leave" }
  | { type: "close" };

/** Parameters of the fragment: who frames the page, and how it shall look. */
export const FRAGMENT = { parent: "sbtc-pay", theme: "theme", color: "color" } as const;

export function wrap(message: Message): object {
  return { v: VERSION, ...message, type: `sbtc-pay.${message.type}` };
}

/** Return what a frame of `origin` posted, undefined for anything else. */
export function read(data: unknown, origin: string): Message | undefined {
  if (typeof data !== "object" || data === null) return;
  const { v, type, height, state, paymentIntent, checkoutUrl } = data as Record<string, unknown>;
  if (v !== VERSION) return;
  switch (type) {
    case "sbtc-pay.ready":
    case "sbtc-pay.leave":
    case "sbtc-pay.close":
      return { type: type.slice(9) as "ready" };
    case "sbtc-pay.height":
      if (typeof height === "number" && height > 0 && height < 1e5) return { type: "height", height };
      return;
    case "sbtc-pay.status":
      if (
        STATES.includes(state as State) &&
        typeof paymentIntent === "string" && /^pi_\w{1,60}$/.test(paymentIntent) &&
        typeof checkoutUrl === "string" && checkoutUrl.startsWith(`${origin}/`)
      ) return { type: "status", state: state as State, paymentIntent, checkoutUrl };
  }
}
