import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  ALICE, Cl, HOSTILE, MERCHANT, PAYMENTS, SBTC, WALLET, call, idOf, isPaid, pay, prints, receipt, refund, terms, vm,
} from "./world.mjs";

const EVIL = "hostile-token.evil";
const ZEROS = `0x${"00".repeat(32)}`;
const evil = (changes = {}) => terms({ token: HOSTILE, amount: 100n, ...changes });

// Tell the token what to do at its next transfer; `id` is whose payment it goes for.
function order(mode, id = ZEROS) {
  call("hostile-token", "set-mode", [Cl.stringAscii(mode), Cl.bufferFromHex(id.slice(2))], ALICE);
}

// What these people have; nothing may change while an attack is refused.
const wealth = () => [ALICE, MERCHANT, HOSTILE, PAYMENTS].map((owner) => vm.holdings(owner));

function refused(code, asked, sender = ALICE) {
  const before = wealth();
  const answer = pay(asked, sender);
  assert.equal(answer.text, `(err u${code})`);
  assert.deepEqual(answer.events, []);
  assert.deepEqual(wealth(), before);
  assert.equal(isPaid(idOf(asked)), "false");
}

function stopped(act) {
  const before = wealth();
  assert.throws(act, /CircularReference/);
  assert.deepEqual(wealth(), before);
}

beforeEach(() => {
  for (const owner of [ALICE, MERCHANT]) call("hostile-token", "mint", [Cl.uint(1000), Cl.principal(owner)], ALICE);
});

for (const [mode, code, what] of [
  ["greedy", 1500, "more of itself than the amount"],
  ["second", 1500, "more of its other asset than the amount"],
  ["sbtc", 1628, "the payer's sBTC"],
  ["stx", 1628, "the payer's STX"],
  ["burn-stx", 1628, "the payer's STX to burn"],
  ["pay-stx", 1628, "the payer's STX through this contract"],
]) {
  test(`a token that takes ${what} gets nothing: everything is undone`, () => {
    order(mode);
    refused(code, evil());
  });
}

test("a token that takes sBTC during a refund gets nothing", () => {
  order("honest");
  const asked = evil();
  pay(asked);
  order("sbtc");
  const before = wealth();
  assert.equal(refund(asked, 100n).text, "(err u1628)");
  assert.deepEqual(wealth(), before);
  assert.match(receipt(idOf(asked)), /\(refunded u0\)/);
});

for (const mode of ["silent", "false"]) {
  test(`a token that says ok and moves nothing (${mode}) gets a receipt for itself, and no transfer event`, () => {
    order(mode);
    const asked = evil();
    const answer = pay(asked);
    assert.equal(answer.text, `(ok ${idOf(asked)})`);
    assert.deepEqual(answer.events.map((e) => e.event), ["print_event"]);
    assert.match(receipt(idOf(asked)), new RegExp(`\\(token \\(some ${HOSTILE}\\)\\)`));
    assert.equal(isPaid(idOf({ ...asked, token: SBTC })), "false", "the id commits to the token");
  });
}

test("a token's own error passes through, whatever it imitates", () => {
  order("error");
  refused(7, evil());
  order("imitate");
  refused(1409, evil());
});

test("a token cannot call back into the function that calls it: the VM stops the transaction", () => {
  order("pay-token");
  const asked = evil();
  stopped(() => pay(asked));
  assert.equal(isPaid(idOf(asked)), "false");
});

test("a token that refunds during a payment: a stranger to the receipt is refused", () => {
  const victim = terms({ amount: 100n });
  pay(victim);
  order("refund", idOf(victim));
  refused(1401, evil());
});

test("a token that refunds STX during its merchant's own payment cannot move them", () => {
  const victim = terms({ token: null, amount: 100n });
  pay(victim);
  order("refund-stx", idOf(victim));
  refused(1628, evil({ merchant: ALICE }), MERCHANT);
  assert.match(receipt(idOf(victim)), /\(refunded u0\)/);
});

test("a token that refunds a token during its merchant's own payment: the VM stops the transaction", () => {
  const victim = terms({ amount: 100n });
  pay(victim);
  order("refund", idOf(victim));
  stopped(() => pay(evil({ merchant: ALICE }), MERCHANT));
  assert.match(receipt(idOf(victim)), /\(refunded u0\)/);
});

test("a token that refunds again during its own refund: the VM stops the transaction", () => {
  order("honest");
  const asked = evil();
  pay(asked);
  order("refund", idOf(asked));
  stopped(() => refund(asked, 60n));
});

test("an honest hour of the hostile token is an ordinary payment of that token", () => {
  order("honest");
  const before = vm.balance(EVIL, MERCHANT);
  const answer = pay(evil());
  assert.equal(prints(answer).length, 1);
  assert.equal(vm.balance(EVIL, MERCHANT), before + 100n);
});

test("what is no SIP-010 token cannot be passed as one", () => {
  assert.throws(() => pay(terms({ token: WALLET })), /trait/i);
  assert.throws(() => pay(terms({ token: `${WALLET}-x` })), /smart-wallet-x/);
});
