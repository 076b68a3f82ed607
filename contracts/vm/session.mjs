// One session of the Clarity VM (simnet, in process, no network, no files written), set up from this folder's Clarinet.toml:
// the payment contract, the real sBTC token at its mainnet principal, and the tests' other contracts.
// Values go in and come out as consensus hex, untouched on their way.

import { readFileSync } from "node:fs";
import { CallFnArgs, ContractOptions, DeployContractArgs, SDK, SDKOptions } from "@stacks/clarinet-sdk-wasm";

export const SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token";
export const DEPLOYER = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM";
export const FOLDER = new URL("../", import.meta.url);

const MANIFEST = ["Clarinet.toml", "settings/Devnet.toml", "sbtc-payments.clar"];
const FIXTURES = ["toy-token", "hostile-token", "smart-wallet"];

export const text = (path) => readFileSync(new URL(path, FOLDER), "utf8");
const bytes = (hex) => Uint8Array.from(Buffer.from(hex.replace(/^0x/, ""), "hex"));
const full = (contract) => (contract.includes(".") ? contract : `${DEPLOYER}.${contract}`);

export async function openSession({ costs = false, coverage = false } = {}) {
  const sdk = new SDK(filesInMemory(), new SDKOptions(costs, coverage));
  await quietly(() => sdk.initSession("/contracts", "Clarinet.toml", null));
  sdk.setEpoch("4.0");
  sdk.setCurrentTestName("all");
  const session = new Session(sdk);
  for (const name of FIXTURES) session.deploy(name, text(`tests/fixtures/${name}.clar`));
  return session;
}

class Session {
  constructor(sdk) {
    this.sdk = sdk;
  }

  deploy(name, source, clarityVersion = 4, sender = DEPLOYER) {
    const options = new ContractOptions(clarityVersion);
    return this.#answer(() => this.sdk.deployContract(new DeployContractArgs(name, source, options, sender)));
  }

  // A transaction in a block of its own: {result: hex, events, height, burnHeight, time, costs}. Throws what the VM throws.
  call(contract, name, args, sender) {
    return this.#answer(() => this.sdk.callPublicFn(new CallFnArgs(full(contract), name, args.map(bytes), sender)));
  }

  read(contract, name, args, sender = DEPLOYER) {
    return this.#answer(() => this.sdk.callReadOnlyFn(new CallFnArgs(full(contract), name, args.map(bytes), sender)));
  }

  // Only to addresses; a contract gets its STX by a payment.
  mintStx(owner, amount) {
    this.sdk.mintSTX(owner, BigInt(amount));
  }

  mintSbtc(owner, amount) {
    this.sdk.mintFT(`${SBTC}.sbtc-token`, owner, BigInt(amount));
  }

  // Everything an owner has, {asset: base units}; an asset is "STX" or "contract-name.asset-name".
  holdings(owner) {
    const held = [...this.sdk.getAssetsMap()].map(([asset, owners]) => [asset.replace(/^\./, ""), owners.get(owner)]);
    return Object.fromEntries(held.filter(([, amount]) => amount));
  }

  balance(asset, owner) {
    return this.holdings(owner)[asset] ?? 0n;
  }

  mineBurnBlock() {
    this.sdk.mineEmptyBurnBlock();
  }

  mineStacksBlocks(count) {
    this.sdk.mineEmptyStacksBlocks(count);
  }

  // Unix seconds of the newest block; the next call's block is BLOCK_SECONDS later.
  get time() {
    return BigInt(this.sdk.getBlockTime());
  }

  #answer(act) {
    const { result, events, costs } = quietly(act);
    return {
      result,
      events: JSON.parse(events).map((event) => JSON.parse(event)),
      height: this.sdk.stacksBlockHeight,
      burnHeight: this.sdk.burnBlockHeight,
      time: this.time,
      costs: costs ? JSON.parse(costs) : null,
    };
  }
}

export const BLOCK_SECONDS = 10n;

// The SDK reads its manifest through this function, and would leave a deployment plan beside it.
function filesInMemory() {
  const files = new Map(MANIFEST.map((path) => [`/contracts/${path}`, text(path)]));
  const path = (asked) => (asked.startsWith("/") ? asked : `/contracts/${asked.replace(/^\.\//, "")}`);
  const actions = {
    "vfs/exists": (asked) => files.has(path(asked.path)),
    "vfs/readFile": (asked) => files.get(path(asked.path)),
    "vfs/readFiles": (asked) => Object.fromEntries(asked.paths.map((one) => [one, files.get(path(one))])),
    "vfs/writeFile": (asked) => {
      files.set(path(asked.path), String.fromCharCode(...asked.content));
    },
  };
  return async (action, asked) => actions[action](asked);
}

// The VM logs each print and each runtime error to the console; what a test needs of them is in its answer.
const { log, info, warn, error } = console;

function quietly(act) {
  const restore = () => Object.assign(console, { log, info, warn, error });
  const nothing = () => undefined;
  Object.assign(console, { log: nothing, info: nothing, warn: nothing, error: nothing });
  try {
    const done = act();
    if (done instanceof Promise) return done.finally(restore);
    restore();
    return done;
  } catch (problem) {
    restore();
    throw problem;
  }
}
