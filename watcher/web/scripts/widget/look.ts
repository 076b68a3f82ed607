// How button and window look. Styles are constructed, never written into the page, so that a shop's own
// Content-Security-Policy has nothing to refuse.

export interface Theme {
  theme?: string | null | undefined;
  color?: string | null | undefined;
  radius?: string | number | null | undefined;
  logo?: string | null | undefined;
  text?: string | null | undefined;
  lang?: string | null | undefined;
}

const COMMON = `
:host { --brand: #2450c8; --on-brand: #fff; --page: #f3f4f7; --text: #15181e; --soft: #565e6c; --radius: 12px; }
:host(.dark) { --brand: #8db0ff; --on-brand: #000; --page: #0f1115; --text: #eceef3; --soft: #a9b0bd; }
[hidden] { display: none !important; }
* { box-sizing: border-box; }
button, a {
  min-height: 44px; padding: 10px 20px; border: 0; border-radius: var(--radius); cursor: pointer;
  background: var(--brand); color: var(--on-brand); font: 600 16px/1.5 system-ui, sans-serif; text-decoration: none;
}
button:hover { filter: brightness(1.08); }
:focus-visible { outline: 3px solid var(--brand); outline-offset: 2px; }
@media (forced-colors: active) { button, a { border: 1px solid; } }
`;

const BUTTON = `
:host { display: inline-block; max-width: 100%; }
:host([hidden]) { display: none; }
button { display: inline-flex; align-items: center; justify-content: center; gap: 10px; width: 100%; }
button:disabled { opacity: .5; cursor: default; }
img { height: 24px; max-width: 96px; object-fit: contain; }
`;

const WINDOW = `
:host { all: initial; }
dialog {
  display: flex; flex-direction: column; width: min(480px, 100vw); max-width: none; max-height: calc(100dvh - 32px);
  padding: 0; border: 0; border-radius: var(--radius); overflow: hidden; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; box-shadow: 0 16px 64px #0006; color-scheme: light;
}
:host(.dark) dialog { color-scheme: dark; border: 1px solid #313742; }
dialog:not([open]) { display: none; }
dialog::backdrop { background: #0009; }
.bar { flex: none; display: flex; justify-content: flex-end; }
.bar button {
  width: 44px; padding: 0; background: none; color: var(--soft); font-size: 24px; border-radius: 0; outline-offset: -6px;
}
.body { flex: 1 1 auto; min-height: 0; position: relative; display: flex; }
iframe { display: block; flex: 1; width: 100%; height: 640px; max-height: 100%; border: 0; background: var(--page); }
.cover {
  position: absolute; inset: 0; display: flex; flex-direction: column; align-items: center; justify-content: center;
  gap: 16px; padding: 0 24px 44px; background: var(--page); text-align: center;
}
.cover p { margin: 0; }
.actions { display: flex; flex-wrap: wrap; gap: 12px; justify-content: center; }
.actions a { background: none; color: inherit; text-decoration: underline; }
.spin { width: 32px; height: 32px; border: 3px solid var(--soft); border-right-color: transparent; border-radius: 50%; }
@media (prefers-reduced-motion: no-preference) {
  .spin { animation: turn 1s linear infinite; }
  @keyframes turn { to { transform: rotate(1turn); } }
}
@media (max-width: 500px) {
  dialog { width: 100vw; height: 100vh; height: 100dvh; max-height: none; border-radius: 0; }
  iframe { height: 100% !important; }
}
`;

/** Give a shadow root its styles, and its host the merchant's theme. */
export function dress(host: HTMLElement, root: ShadowRoot, part: "button" | "window", theme: Theme): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(COMMON + (part === "button" ? BUTTON : WINDOW) + own(theme));
  root.adoptedStyleSheets = [sheet];
  const wanted = themeOf(theme);
  const dark = wanted ? wanted === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  host.classList.toggle("dark", dark);
}

/** Return the forced theme, undefined where it goes by the payer's own choice. */
export function themeOf({ theme }: Theme): "light" | "dark" | undefined {
  return theme === "light" || theme === "dark" ? theme : undefined;
}

/** Return a color's six digits, undefined for none. */
export function colorOf({ color }: Theme): string | undefined {
  return color ? /^#([0-9a-f]{6})$/i.exec(color)?.[1]?.toLowerCase() : undefined;
}

function own(theme: Theme): string {
  const color = colorOf(theme);
  const radius = Number.isFinite(Number(theme.radius ?? NaN)) ? `${Number(theme.radius)}px` : String(theme.radius);
  if (theme.color && !color) console.warn(`sbtc-pay: ${theme.color} is no color; write #rrggbb`);
  return ":host, :host(.dark) {"
    + (color ? `--brand: #${color}; --on-brand: ${isLight(color) ? "#000" : "#fff"};` : "")
    + (CSS.supports("border-radius", radius) && !/[;{}]/.test(radius) ? `--radius: ${radius};` : "")
    + "}";
}

/** Whether black is easier to read on a color than white. */
export function isLight(color: string): boolean {
  const [red, green, blue] = [0, 2, 4].map((place) => {
    const share = parseInt(color.slice(place, place + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue! > 0.179;
}
