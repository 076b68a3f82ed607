// The widget as an ES module: /widget.mjs.
import { start } from "./widget/start.ts";

export const SbtcPay = start(import.meta.url);
export default SbtcPay;
