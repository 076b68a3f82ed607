import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import Transactions from "@stacks/transactions";
import { text } from "../vm/session.mjs";
import { Cl, PAYMENTS, vm } from "./world.mjs";

const source = text("sbtc-payments.clar");
const code = source.replace(/;;.*$/gm, "");

for (const version of [4, 5, 6]) {
  test(`the same text deploys as Clarity ${version}`, () => {
    assert.equal(vm.deploy(`as-clarity-${version}`, source, version).result, `0x${Cl.serialize(Cl.bool(true))}`);
  });
}

test("the transaction that deploys it carries exactly this text, and the version that Clarinet.toml says", async () => {
  const manifest = text("Clarinet.toml");
  const clarityVersion = Number(/^clarity_version = (\d+)$/m.exec(manifest)[1]);
  const [, contractName] = /^\[contracts\.(\S+)\]$/m.exec(manifest);
  for (const network of ["testnet", "mainnet"]) {
    const made = await Transactions.makeUnsignedContractDeploy({
      contractName, codeBody: text(/^path = "(.*)"$/m.exec(manifest)[1]), clarityVersion, network, fee: 0, nonce: 0,
      publicKey: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    });
    const { payload } = Transactions.deserializeTransaction(made.serialize());
    assert.deepEqual(
      [payload.contractName.content, payload.clarityVersion, payload.codeBody.content],
      ["sbtc-payments", 4, source],
    );
  }
});

test("it is ASCII: the text that is hashed is the text that is read", () => {
  assert.match(source, /^[\n\x20-\x7e]*$/);
});

test("it never acts as itself, so it cannot own or send anything, and keeps no setting that somebody could change", () => {
  assert.doesNotMatch(code, /as-contract|current-contract|define-data-var|define-(non-)?fungible-token|contract-caller/);
});

test("each public and read-only function says who may call it, what moves and which errors there are", () => {
  const functions = [...source.matchAll(/((?:^;;.*\n)+)\(define-(?:public|read-only) \((\S+)/gm)];
  const names = functions.map(([, , name]) => name).sort();
  const documented = [
    "get-intent-id", "get-receipt", "is-paid", "pay-stx", "pay-token", "refund-stx", "refund-token",
  ];
  assert.deepEqual(names, documented);
  for (const [, comment, name] of functions) {
    for (const word of [/who:/i, /moves/i, /errors/i]) assert.match(comment, word, name);
  }
});

test("the chain's own hash of the contract is that of the file, so a contract can check it too", () => {
  vm.deploy("hash-reader", `(define-read-only (hash) (contract-hash? '${PAYMENTS}))`);
  const digest = createHash("sha512-256").update(source).digest("hex");
  assert.equal(vm.read("hash-reader", "hash", []).result.slice(-64), digest);
});
