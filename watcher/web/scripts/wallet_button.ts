// The part of a page that asks a wallet: a button for each wallet that is there, and what became of it in words.
//
// <section id="wallet" data-network hidden> with <div class="wallets">, <p class="said">, <code> and a <template
// data-say> per text, in which {} stands for the wallet's name: the macro of templates/wallet.html. Beside it, shown as
// it fits, are .no-wallet and .framed.
import { type Call, type Wallet, WalletError, findWallets, isFramed, requestCall } from "./wallet.ts";

/** Milliseconds after which wallets are looked for again: extensions come when they come. */
const LOOKS = [0, 150, 500, 1500, 4000];
/** Milliseconds after which a wallet that is silent may be asked again, or another one. */
const SLOW = 20_000;
/** What is still said when the page is loaded again. */
const KEPT = ["asking", "slow", "sent"];
/** Milliseconds that the server has to answer. */
const SERVER = 15_000;

interface Said {
  key: string;
  wallet: string;
  txid: string;
}

let wallets: Wallet[] = [];
let said: Said | null = null;
/** The request that is waited for, by number; a later one lets an earlier one's refusal be. */
let latest = 0;
let busy = false;

/** A call that the server does not give: why, as the page has words for it. */
class CallError extends Error {
  constructor(readonly reason: string) {
    super(reason);
  }
}

/** Look for wallets, and ask the one that is chosen for the call at `address(section)`. */
export function watchWallets(address: (section: HTMLElement) => string): void {
  said = history.state?.wallet ?? null;
  // The page was left meanwhile: an answer does not find back.
  if (said?.key === "asking") said.key = "slow";
  for (const wait of LOOKS) setTimeout(look, wait);
  addEventListener("focus", look);
  document.addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLElement>("#wallet button");
    const wallet = button && findWallets().find((one) => one.name === button.dataset.name);
    if (wallet && !busy) void pay(wallet, address(section()!));
  });
}

/** Show the wallets and what was said of them, also where the page was replaced meanwhile. */
export function showWallets(): void {
  const shown = section();
  if (!shown) return;
  const framed = isFramed();
  shown.hidden = !wallets.length;
  for (const [kind, fits] of [
    [".framed", framed],
    [".no-wallet", !framed && !wallets.length],
  ] as const) {
    for (const hint of document.querySelectorAll<HTMLElement>(kind)) hint.hidden = !fits;
  }
  const label = said?.key === "sent" ? "again" : "pay";
  const buttons = wallets.map(({ name }, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `wallet-${place}`;
    button.className = label === "pay" ? "button" : "button quiet";
    button.dataset.name = name;
    button.textContent = words(label, name);
    button.setAttribute("aria-disabled", String(busy));
    return button;
  });
  const focused = document.activeElement?.id;
  const list = shown.querySelector(".wallets")!;
  list.classList.toggle("later", label === "again");
  list.replaceChildren(...buttons);
  if (focused?.startsWith("wallet-")) document.getElementById(focused)?.focus({ preventScroll: true });
  const line = shown.querySelector<HTMLElement>(".said")!;
  line.hidden = !said;
  line.textContent = said && words(said.key, said.wallet);
  const id = shown.querySelector<HTMLElement>("code")!;
  id.hidden = !said?.txid;
  id.textContent = said?.txid ?? "";
}

/** Forget what was said: the page itself says more. */
export function forgetWallet(): void {
  remember(null);
}

async function pay(wallet: Wallet, address: string): Promise<void> {
  const mine = ++latest;
  busy = true;
  say("asking", wallet);
  const slow = setTimeout(() => {
    busy = false;
    say("slow", wallet);
  }, SLOW);
  try {
    const txid = await requestCall(wallet, section()!.dataset.network!, (sender) => load(address, sender));
    // Of an earlier request, too: money may be on its way.
    say("sent", wallet, txid);
  } catch (error) {
    const known = error instanceof WalletError || error instanceof CallError;
    if (mine === latest) say(known ? error.reason : "failed", wallet);
  } finally {
    clearTimeout(slow);
    if (mine === latest) busy = false;
    showWallets();
  }
}

async function load(address: string, sender: string): Promise<Call> {
  const asked: RequestInit = { cache: "no-store", credentials: "same-origin" };
  if (AbortSignal.timeout) asked.signal = AbortSignal.timeout(SERVER);
  const url = new URL(address, location.href);
  url.searchParams.set("sender", sender);
  let answer: Response, found: Call & { code?: string };
  try {
    answer = await fetch(url, asked);
    found = await answer.json();
  } catch {
    throw new CallError("server");
  }
  if (answer.ok) return found;
  if (answer.status === 429 || answer.status >= 500) throw new CallError("server");
  const reasons: Record<string, string> = { wrong_payer: "payer", wrong_sender: "payer", validation: "network" };
  throw new CallError(reasons[found.code ?? ""] ?? "ended");
}

function say(key: string, wallet: Wallet, txid = ""): void {
  remember({ key, wallet: wallet.name, txid });
  showWallets();
  const live = document.getElementById("said");
  if (live) live.textContent = words(key, wallet.name);
}

/** Keep what may have moved money over a reload, so that nobody pays twice: the tab's own history is no storage. */
function remember(what: Said | null): void {
  said = what;
  const { wallet: _, ...rest } = history.state ?? {};
  history.replaceState(what && KEPT.includes(what.key) ? { ...rest, wallet: what } : rest, "");
}

function look(): void {
  const names = wallets.map((wallet) => wallet.name).join();
  wallets = findWallets();
  if (names !== wallets.map((wallet) => wallet.name).join() || !wallets.length) showWallets();
}

function words(key: string, wallet: string): string {
  const text = section()?.querySelector<HTMLTemplateElement>(`template[data-say="wallet.${key}"]`);
  return (text?.content.textContent ?? "").trim().split("{}").join(wallet);
}

function section(): HTMLElement | null {
  return document.getElementById("wallet");
}
