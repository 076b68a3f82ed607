// The wallets of this browser, and what one is asked for: the requests of SIP-030, and OKX's own.
//
// What a wallet answers is only shown. It may refuse and have sent, or say that it sent and have not: the chain counts.

/** A request as the server computed it: see GET /v1/checkout/{token}/call. */
export interface Call {
  method: string;
  params: Record<string, unknown>;
}

export interface Wallet {
  name: string;
  /** Its Stacks addresses; it asks the person first. */
  addresses(): Promise<string[]>;
  /** Let it sign and send; returns the transaction's id, 64 hex digits, or nothing where it names none. */
  send(call: Call): Promise<string>;
}

/** Why nothing came of a request; the page has words for each. */
export type Reason = "refused" | "network" | "unable" | "failed";

export class WalletError extends Error {
  constructor(readonly reason: Reason) {
    super(reason);
  }
}

/** What a wallet is or answers: looked at, never trusted. */
type Unknown = any;

/** How a kind of wallet is spoken to. */
type Speak = (provider: Unknown) => Omit<Wallet, "name">;

/** Paths below `window`, names, and how they are spoken to. */
const KNOWN: [path: string, name: string, speak: Speak][] = [
  ["LeatherProvider", "Leather", sip030],
  ["XverseProviders.BitcoinProvider", "Xverse", (provider) => xverse(provider, { addresses: ["stacks"] })],
  ["FordefiProviders.UtxoProvider", "Fordefi", xverse],
  ["AsignaProvider", "Asigna", sip030],
  ["okxwallet.stacks", "OKX Wallet", okx],
];

/** The person said no, closed the wallet's window, or lets this page ask for nothing: SIP-030, then Leather and OKX. */
const REFUSED = [-32000, -32002, -31001, 4001, 7, 16];
/** No such method, parameters that it does not take, a method that it does not support: SIP-030, Xverse, Leather. */
const UNABLE = [-32601, -32602, -32006, -32001, 4002];
const OTHER_NETWORK = -32007;

/** Whether another page is around this one: wallets are not there then, and what claims to be one may be that page. */
export function isFramed(): boolean {
  return window.top !== window.self;
}

/** Return the wallets that are there now; some come only after the page has loaded. */
export function findWallets(): Wallet[] {
  if (isFramed()) return [];
  const found = new Map<Unknown, Wallet>();
  const add = (path: string, name: string, speak: Speak) => {
    const provider = at(path);
    const speaks = typeof (provider?.request ?? provider?.connect) === "function";
    if (speaks && !found.has(provider)) found.set(provider, { name, ...speak(provider) });
  };
  for (const known of KNOWN) look(() => add(...known));
  // Others that have registered themselves (WBIP-004), as far as they say that they do what is needed.
  const registered = at("btc_providers");
  for (const entry of Array.isArray(registered) ? registered.slice(0, 20) : []) {
    look(() => {
      if (typeof entry?.id !== "string" || typeof entry.name !== "string") return;
      if (KNOWN.some(([path]) => path === entry.id) || !Array.isArray(entry.methods)) return;
      if (entry.methods.includes("stx_callContract")) add(entry.id, entry.name.slice(0, 40), sip030);
    });
  }
  return [...found.values()];
}

/**
 * Ask a wallet: for its address, then, when it is on the right network, for what `load` returns for that address.
 * Returns the transaction's id as the wallet says. Throws WalletError, and what `load` throws.
 */
export async function requestCall(
  wallet: Wallet,
  network: string,
  load: (sender: string) => Promise<Call>,
): Promise<string> {
  const addresses = await wallet.addresses();
  const own = addresses.find((address) => /^S[PM]/.test(address) === (network === "mainnet"));
  if (!own) throw new WalletError(addresses.length ? "network" : "unable");
  return wallet.send(await load(own));
}

function sip030(provider: Unknown): ReturnType<Speak> {
  return {
    addresses: async () => addressesOf(await ask(provider, "getAddresses")),
    send: async ({ method, params }) => idOf(await ask(provider, method, params)),
  };
}

/** Xverse connects by a method of its own, knows no network and no address here, and older ones say `arguments`. */
function xverse(provider: Unknown, wanted?: Record<string, unknown>): ReturnType<Speak> {
  return {
    addresses: async () => addressesOf(await ask(provider, "wallet_connect", wanted)),
    send: async ({ method, params: { network: _, address: __, ...params } }) => {
      const older = params.functionArgs ? { arguments: params.functionArgs } : {};
      return idOf(await ask(provider, method, { ...params, ...older }));
    },
  };
}

/** OKX has two calls of its own; 2 is deny, 3 any block. */
function okx(provider: Unknown): ReturnType<Speak> {
  return {
    addresses: async () => addressesOf({ addresses: [await heard(() => provider.connect())] }),
    send: async ({ method, params: { contract, address, network: _, ...params } }) => {
      const [contractAddress, contractName] = String(contract).split(".");
      const what =
        method === "stx_transferStx"
          ? { txType: "token_transfer", ...params }
          : { txType: "contract_call", contractAddress, contractName, ...params, postConditionMode: 2 };
      return idOf(await heard(() => provider.signTransaction({ ...what, stxAddress: address, anchorMode: 3 })));
    },
  };
}

/** Ask by SIP-030: an error is thrown by some wallets, whole or not, and answered by others. */
async function ask(provider: Unknown, method: string, params?: Record<string, unknown>): Promise<Unknown> {
  const answer = await heard(() => provider.request(method, params));
  if (answer?.error) throw problem(answer.error);
  return answer?.result;
}

async function heard(what: () => Unknown): Promise<Unknown> {
  try {
    return await what();
  } catch (error) {
    throw problem((error as Unknown)?.error ?? error);
  }
}

function problem(error: Unknown): WalletError {
  const { code, message } = error ?? {};
  if (REFUSED.includes(code) || /reject|cancel|denied/i.test(String(message))) return new WalletError("refused");
  if (code === OTHER_NETWORK) return new WalletError("network");
  return new WalletError(UNABLE.includes(code) ? "unable" : "failed");
}

/** Return the Stacks addresses of an answer; those of Bitcoin are mixed in. */
function addressesOf(result: Unknown): string[] {
  const entries = Array.isArray(result?.addresses) ? result.addresses : [];
  return entries
    .map((entry: Unknown) => entry?.address)
    .filter((address: Unknown) => typeof address === "string" && /^S[PMTN][0-9A-Z]{26,39}$/.test(address));
}

function idOf(result: Unknown): string {
  const id = String(result?.txid ?? result?.txId ?? result?.txHash).replace(/^0x/i, "").toLowerCase();
  return /^[0-9a-f]{64}$/.test(id) ? id : "";
}

/** Return what is at a path below `window`, nothing where there is none or it will not be looked at. */
function at(path: string): Unknown {
  return look(() => path.split(".").reduce<Unknown>((node, name) => node?.[name], window));
}

/** Look at what is not ours: where it throws, there is nothing, and what stands beside it is looked at all the same. */
function look<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined;
  }
}
