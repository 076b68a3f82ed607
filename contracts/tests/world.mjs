// What the tests share: one VM session, people with money, short ways to call, and a memory of what was seen.

import assert from "node:assert/strict";
import Transactions from "@stacks/transactions";
import { openSession, SBTC } from "../vm/session.mjs";

export const { Cl, cvToString, cvToValue } = Transactions;
export { SBTC };

export const vm = await openSession({ costs: true, coverage: true });

export const ALICE = "ST1SJ3DTE5DN7X54YDH5D64R3BCB6A2AG2ZQ8YPD5";
export const BOB = "STFKSP9P3EV5GPQNVNGXPS8F732CYH63ZBNTS8NK";
export const MERCHANT = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG";
export const PAYMENTS = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.sbtc-payments";
export const [TOY, HOSTILE, WALLET] = ["toy-token", "hostile-token", "smart-wallet"].map(
  (name) => PAYMENTS.replace("sbtc-payments", name),
);
export const SBTC_ASSET = "sbtc-token.sbtc-token";
export const TOY_ASSET = "toy-token.toy";
export const MAX = 2n ** 128n - 1n;
export const LATER = 4_102_444_800n;

for (const person of [ALICE, MERCHANT]) {
  vm.mintStx(person, 1_000_000);
  vm.mintSbtc(person, 1_000_000);
}

export const seen = { errors: new Set(), topics: new Set() };

const hex = (values) => values.map((value) => Cl.serialize(value));
export const value = (answer) => Cl.deserialize(answer.result);
export const show = (answer) => cvToString(value(answer));

// A call of any contract; the answer also has `text`, the result as Clarity writes it.
export function call(contract, name, args, sender) {
  const answer = vm.call(contract, name, hex(args), sender);
  const result = show(answer);
  if (contract === "sbtc-payments") {
    const code = /^\(err u(\d+)\)$/.exec(result);
    if (code) seen.errors.add(Number(code[1]));
  }
  for (const print of prints(answer)) if (print.topic) seen.topics.add(print.topic.value);
  return { ...answer, text: result };
}

export const read = (name, ...args) => show(vm.read("sbtc-payments", name, hex(args)));

// Fields of the payment contract's prints, as Clarity values by name.
export function prints(answer) {
  const own = answer.events.filter((e) => e.event === "print_event" && e.data.contract_identifier === PAYMENTS);
  return own.map((e) => Cl.deserialize(e.data.raw_value).value);
}

let salts = 0;
export function salt() {
  salts += 1;
  return Buffer.from(salts.toString(16).padStart(32, "0"), "hex");
}

// Terms with a fresh salt; `token` null is STX.
export function terms(changes = {}) {
  return { token: SBTC, merchant: MERCHANT, amount: 1000n, expires: LATER, salt: salt(), ...changes };
}

export function idOf({ token, merchant, amount, expires, salt: bytes }) {
  const named = token === null ? Cl.none() : Cl.some(Cl.principal(token));
  return read("get-intent-id", Cl.principal(merchant), named, Cl.uint(amount), Cl.uint(expires), Cl.buffer(bytes));
}

export function pay(asked, sender = ALICE, contract = "sbtc-payments") {
  const { token, merchant, amount, expires, salt: bytes } = asked;
  const rest = [Cl.principal(merchant), Cl.uint(amount), Cl.uint(expires), Cl.buffer(bytes)];
  return token === null
    ? call(contract, "pay-stx", rest, sender)
    : call(contract, "pay-token", [Cl.principal(token), ...rest], sender);
}

// Refund part of what was paid under these terms; `token` as said, if another than the terms'.
export function refund(asked, amount, sender = MERCHANT, { token = asked.token, contract = "sbtc-payments" } = {}) {
  return refundId(idOf(asked), token, amount, sender, contract);
}

export function refundId(id, token, amount, sender = MERCHANT, contract = "sbtc-payments") {
  const rest = [Cl.bufferFromHex(id.slice(2)), Cl.uint(amount)];
  return token === null
    ? call(contract, "refund-stx", rest, sender)
    : call(contract, "refund-token", [Cl.principal(token), ...rest], sender);
}

export const receipt = (id) => read("get-receipt", Cl.bufferFromHex(id.slice(2)));
export const isPaid = (id) => read("is-paid", Cl.bufferFromHex(id.slice(2)));
export const paid = (asked) => ({ id: pay(asked).text.slice(4, -1), ...asked });

export function mintToy(owner, amount) {
  call("toy-token", "mint", [Cl.uint(amount), Cl.principal(owner)], owner);
}

for (const token of [SBTC, null]) assert.match(pay(terms({ token, merchant: WALLET, amount: 1000n })).text, /^\(ok /);
