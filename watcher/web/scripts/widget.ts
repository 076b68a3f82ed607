// The widget for a script tag: /widget.js, which leaves SbtcPay.
import { start } from "./widget/start.ts";

Object.assign(window, { SbtcPay: start((document.currentScript as HTMLScriptElement | null)?.src) });
