// The adapter to wallets (watcher/web/scripts/wallet.ts), against wallets of each kind as they are known to behave.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../../../watcher/web/", import.meta.url));
const { build } = createRequire(`${web}/`)("esbuild");
const bundle = await build({
  entryPoints: [`${web}/scripts/wallet.ts`],
  bundle: true,
  format: "esm",
  write: false,
});
const { findWallets, requestCall } = await import(
  `data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString("base64")}`
);

const MAINNET = "SP2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG";
const TESTNET = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG";
const BITCOIN = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh";
const TXID = "ab".repeat(32);

const TRANSFER = {
  method: "stx_transferStx",
  params: { recipient: "SP1", amount: "5", memo: "K7", address: MAINNET, network: "mainnet" },
};
const CALL = {
  method: "stx_callContract",
  params: {
    contract: "SP1.token",
    functionName: "transfer",
    functionArgs: ["01"],
    postConditions: ["0101"],
    postConditionMode: "deny",
    address: MAINNET,
    network: "mainnet",
  },
};

// A page with these things below `window`, and nothing around it.
function page(things) {
  const window = { ...things };
  window.self = window.top = window;
  globalThis.window = window;
}

afterEach(() => delete globalThis.window);

// A wallet by SIP-030 that answers, by method, with a value or a function; what it was asked is kept.
function provider(answers, more = {}) {
  const asked = [];
  const request = async (method, params) => {
    asked.push([method, params]);
    const answer = answers[method];
    return typeof answer === "function" ? answer(params) : answer;
  };
  return { request, asked, ...more };
}

const addresses = (...found) => ({ jsonrpc: "2.0", id: "1", result: { addresses: found.map((address) => ({ address })) } });
const leather = (more = {}) =>
  provider({
    getAddresses: addresses(BITCOIN, MAINNET),
    stx_transferStx: { result: { txid: TXID } },
    stx_callContract: { result: { txid: `0x${TXID.toUpperCase()}` } },
    ...more,
  });

async function asked(call, network = "mainnet") {
  const [wallet] = findWallets();
  const loaded = [];
  const txid = await requestCall(wallet, network, async (sender) => {
    loaded.push(sender);
    return call;
  });
  return { txid, loaded };
}

async function reason(promise) {
  return promise.then(
    () => assert.fail("it was sent"),
    (error) => error.reason,
  );
}

const names = () => findWallets().map((wallet) => wallet.name);

test("without a wallet none is found", () => {
  page({});
  assert.deepEqual(names(), []);
});

test("each known wallet is found by its own name, once, and in one order", () => {
  const shared = leather();
  page({
    okxwallet: { stacks: { connect() {} } },
    AsignaProvider: provider({}),
    FordefiProviders: { UtxoProvider: provider({}) },
    XverseProviders: { BitcoinProvider: provider({}), StacksProvider: provider({}) },
    LeatherProvider: shared,
    StacksProvider: shared,
  });
  assert.deepEqual(names(), ["Leather", "Xverse", "Fordefi", "Asigna", "OKX Wallet"]);
});

test("others are found where they register, if they say that they call contracts", () => {
  page({
    LeatherProvider: leather(),
    other: { wallet: provider({}) },
    btc_providers: [
      { id: "LeatherProvider", name: "Leather", methods: ["stx_callContract"] },
      { id: "other.wallet", name: "Other".padEnd(60, "!"), methods: ["stx_callContract"] },
      { id: "bitcoin", name: "Bitcoin only", methods: ["sendTransfer"] },
      { id: "gone", name: "Gone", methods: ["stx_callContract"] },
      { id: 7, name: "Odd" },
      null,
    ],
  });
  assert.deepEqual(names(), ["Leather", "Other".padEnd(40, "!")]);
});

test("what only looks like a wallet is none", () => {
  const window = { LeatherProvider: true, AsignaProvider: { transactionRequest() {} }, btc_providers: "x" };
  Object.defineProperty(window, "XverseProviders", { enumerable: true, get: () => undefined });
  page(window);
  Object.defineProperty(globalThis.window, "okxwallet", {
    get() {
      throw new Error("blocked");
    },
  });
  assert.deepEqual(names(), []);
});

test("one that throws at whoever looks hides no other", () => {
  const angry = () =>
    new Proxy({}, {
      get() {
        throw new Error("do not look");
      },
    });
  page({
    LeatherProvider: angry(),
    AsignaProvider: provider({}),
    other: provider({}),
    btc_providers: [angry(), { id: "other", name: "Other", methods: ["stx_callContract"] }],
  });
  assert.deepEqual(names(), ["Asigna", "Other"]);
});

test("in a frame there is no wallet, whatever the page around it puts there", () => {
  page({ LeatherProvider: leather(), AsignaProvider: provider({}) });
  globalThis.window.top = {};
  assert.deepEqual(names(), []);
});

test("a wallet is asked for its address, then for what the server computed for it", async () => {
  const wallet = leather();
  page({ LeatherProvider: wallet });
  assert.deepEqual(await asked(TRANSFER), { txid: TXID, loaded: [MAINNET] });
  assert.deepEqual(wallet.asked, [
    ["getAddresses", undefined],
    ["stx_transferStx", TRANSFER.params],
  ]);
});

test("a transaction id is 64 small hex digits, or nothing", async () => {
  page({ LeatherProvider: leather() });
  assert.equal((await asked(CALL)).txid, TXID);
  for (const result of [{}, null, { txid: "" }, { txid: 5 }, { txid: "<b>" }, { transaction: "00" }]) {
    page({ LeatherProvider: leather({ stx_callContract: { result } }) });
    assert.equal((await asked(CALL)).txid, "");
  }
});

test("Xverse and Fordefi connect in their own way, and are told no network and no address", async () => {
  for (const path of ["XverseProviders", "FordefiProviders"]) {
    const wallet = provider({
      wallet_connect: addresses(MAINNET),
      stx_callContract: { status: "success", result: { txId: TXID } },
      stx_transferStx: { result: { txid: TXID } },
    });
    page({ [path]: { [path === "XverseProviders" ? "BitcoinProvider" : "UtxoProvider"]: wallet } });
    assert.equal((await asked(CALL)).txid, TXID);
    await asked(TRANSFER);
    const { address: _, network: __, ...params } = CALL.params;
    const wanted = path === "XverseProviders" ? { addresses: ["stacks"] } : undefined;
    assert.deepEqual(wallet.asked, [
      ["wallet_connect", wanted],
      ["stx_callContract", { ...params, arguments: params.functionArgs }],
      ["wallet_connect", wanted],
      ["stx_transferStx", { recipient: "SP1", amount: "5", memo: "K7" }],
    ]);
  }
});

test("OKX has calls of its own", async () => {
  const seen = [];
  const stacks = {
    connect: async () => ({ address: MAINNET, publicKey: "02" }),
    signTransaction: async (transaction) => {
      seen.push(transaction);
      return { txHash: TXID, signature: "00" };
    },
  };
  page({ okxwallet: { stacks } });
  assert.equal((await asked(TRANSFER)).txid, TXID);
  assert.equal((await asked(CALL)).txid, TXID);
  assert.deepEqual(seen, [
    { txType: "token_transfer", recipient: "SP1", amount: "5", memo: "K7", stxAddress: MAINNET, anchorMode: 3 },
    {
      txType: "contract_call",
      contractAddress: "SP1",
      contractName: "token",
      functionName: "transfer",
      functionArgs: ["01"],
      postConditions: ["0101"],
      postConditionMode: 2,
      stxAddress: MAINNET,
      anchorMode: 3,
    },
  ]);
});

test("a wallet on another network is asked for no money", async () => {
  for (const [address, network] of [
    [TESTNET, "mainnet"],
    [MAINNET, "testnet"],
    [MAINNET, "devnet"],
  ]) {
    const wallet = leather({ getAddresses: addresses(BITCOIN, address) });
    page({ LeatherProvider: wallet });
    assert.equal(await reason(asked(TRANSFER, network)), "network");
    assert.deepEqual(wallet.asked.length, 1);
  }
  page({ LeatherProvider: leather({ getAddresses: addresses(MAINNET, TESTNET) }) });
  assert.deepEqual((await asked(TRANSFER, "devnet")).loaded, [TESTNET]);
});

test("a wallet without a Stacks address cannot pay", async () => {
  for (const answer of [addresses(BITCOIN), addresses(5, "<b>", "SPx"), { result: {} }, undefined, "x"]) {
    page({ LeatherProvider: leather({ getAddresses: answer }) });
    assert.equal(await reason(asked(TRANSFER)), "unable");
  }
});

test("every way of saying no is understood", async () => {
  const errors = [
    [{ code: -32000, message: "User rejected the Stacks transaction signing request" }, "refused"],
    [{ code: 4001, message: "User rejected the request." }, "refused"],
    [{ code: -32002, message: "Access denied." }, "refused"],
    [{ code: -31001 }, "refused"],
    [{ code: 99, message: "cancelled by user" }, "refused"],
    [{ code: -32007 }, "network"],
    [{ code: -32601, message: "Method not found" }, "unable"],
    [{ code: -32602, message: "Invalid parameters" }, "unable"],
    [{ code: -32006 }, "unable"],
    [{ code: -32001, message: "Method not supported" }, "unable"],
    [{ code: 4002 }, "unable"],
    [{ code: 7, message: "Permission missing" }, "refused"],
    [{ code: 16 }, "refused"],
    [{ code: -32603, message: "Internal error" }, "failed"],
    [{}, "failed"],
    ["text", "failed"],
  ];
  for (const [error, why] of errors) {
    const ways = [
      () => ({ jsonrpc: "2.0", id: "1", error }),
      () => Promise.reject({ jsonrpc: "2.0", id: "1", error }),
      () => Promise.reject(error),
    ];
    for (const say of ways) {
      page({ LeatherProvider: leather({ stx_transferStx: say }) });
      assert.equal(await reason(asked(TRANSFER)), why, JSON.stringify(error));
    }
  }
  for (const nothing of [undefined, null]) {
    page({ LeatherProvider: leather({ stx_transferStx: () => Promise.reject(nothing) }) });
    assert.equal(await reason(asked(TRANSFER)), "failed");
  }
});

test("an error of the server is passed on, and the wallet is asked for no money", async () => {
  const wallet = leather();
  page({ LeatherProvider: wallet });
  const [found] = findWallets();
  const broken = requestCall(found, "mainnet", async () => {
    throw new TypeError("no connection");
  });
  await assert.rejects(broken, TypeError);
  assert.equal(wallet.asked.length, 1);
});
