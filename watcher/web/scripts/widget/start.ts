// The widget's public object, one per page however often the script is loaded.
import { folderOf } from "./address.ts";
import * as button from "./button.ts";
import * as modal from "./window.ts";

export interface SbtcPay {
  /** Open a payment. Throws a TypeError where the options name no page. */
  open(options: modal.Options): modal.Handle;
}

const KEY = Symbol.for("sbtc-pay");

/** Return the page's widget, made on the first call; `script` is the address of the script. */
export function start(script: string | undefined): SbtcPay {
  const page = globalThis as { [KEY]?: SbtcPay };
  const there = page[KEY];
  if (there) return there;
  const home = folderOf(script);
  const made = { open: (options: modal.Options) => modal.open(options, home) };
  page[KEY] = made;
  modal.define();
  button.define(home);
  return made;
}
