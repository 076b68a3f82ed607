// One session of the Clarity VM (simnet, in process, no network) with the payment contract, the real sBTC token at its
// mainnet principal, and the tests' other contracts. Values go in and come out as consensus hex, untouched on their way.

import { readFileSync } from "node:fs";
import { CallFnArgs, ContractOptions, DeployContractArgs, SDK, SDKOptions } from "@stacks/clarinet-sdk-wasm";

export const SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token";
export const DEPLOYER = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM";
export const CONTRACT = `${DEPLOYER}.sbtc-payments`;
export const SOURCE = readFileSync(new URL("../sbtc-payments.clar", import.meta.url), "utf8");

const FIXTURES = ["toy-token", "hostile-token", "smart-wallet"];
const noFiles = () => Promise.reject(new Error("this session reads no files"));
const full = (contract) => (contract.includes(".") ? contract : `${DEPLOYER}.${contract}`);
const bytes = (hex) => Uint8Array.from(Buffer.from(hex.replace(/^0x/, ""), "hex"));

export async function openSession({ costs = false, coverage = false } = {}) {
  const sdk = new SDK(noFiles, new SDKOptions(costs, coverage));
  await sdk.initEmptySession({ enabled: false });
  sdk.setEpoch("4.0");
  const session = new Session(sdk);
  session.deploy("sbtc-payments", SOURCE);
  for (const name of FIXTURES) {
    session.deploy(name, readFileSync(new URL(`../tests/fixtures/${name}.clar`, import.meta.url), "utf8"));
  }
  return session;
}

class Session {
  constructor(sdk) {
    this.sdk = sdk;
  }

  deploy(name, source, clarityVersion = 4) {
    return this.#read(
      this.sdk.deployContract(new DeployContractArgs(name, source, new ContractOptions(clarityVersion), DEPLOYER)),
    );
  }

  // A transaction of its own, in a block of its own: {result: hex, events, height, burnHeight, time, costs}.
  call(contract, name, args, sender) {
    return this.#read(this.sdk.callPublicFn(new CallFnArgs(full(contract), name, args.map(bytes), sender)));
  }

  // Answers for the current tip and mines nothing.
  read(contract, name, args, sender = DEPLOYER) {
    return this.#read(this.sdk.callReadOnlyFn(new CallFnArgs(full(contract), name, args.map(bytes), sender)));
  }

  mintStx(recipient, amount) {
    this.sdk.mintSTX(recipient, BigInt(amount));
  }

  mintSbtc(recipient, amount) {
    this.sdk.mintFT(`${SBTC}.sbtc-token`, recipient, BigInt(amount));
  }

  // Balances by asset, "STX" or "contract.asset", in base units; what nobody holds is 0.
  balance(asset, owner) {
    return this.sdk.getAssetsMap().get(asset === "STX" ? "STX" : `.${asset}`)?.get(owner) ?? 0n;
  }

  holdings(owner) {
    const held = [...this.sdk.getAssetsMap()].map(([asset, owners]) => [asset, owners.get(owner) ?? 0n]);
    return held.filter(([, amount]) => amount !== 0n);
  }

  get time() {
    return BigInt(this.sdk.getBlockTime());
  }

  #read({ result, events, costs }) {
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
