import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALICE, BOB, Cl, MAX, MERCHANT, PAYMENTS, SBTC, SBTC_ASSET, TOY, TOY_ASSET, WALLET, call, cvToString, isPaid, mintToy, paid,
  pay, prints, receipt, refund, refundId, terms, vm,
} from "./world.mjs";

const refunded = (id) => /\(refunded (u\d+)\)/.exec(receipt(id))[1];

for (const [name, token, asset, other] of [
  ["refund-token", SBTC, SBTC_ASSET, null],
  ["refund-stx", null, "STX", SBTC],
]) {
  test(`${name} moves exactly the amount from the merchant to the payer`, () => {
    const asked = paid(terms({ token }));
    const before = [vm.balance(asset, ALICE), vm.balance(asset, MERCHANT)];
    assert.equal(refund(asked, 400n).text, "(ok u400)");
    assert.deepEqual([vm.balance(asset, ALICE), vm.balance(asset, MERCHANT)], [before[0] + 400n, before[1] - 400n]);
    assert.deepEqual(vm.holdings(PAYMENTS), {});
  });

  test(`${name} can be repeated until all is returned, and no further`, () => {
    const asked = paid(terms({ token, amount: 1000n }));
    assert.equal(refund(asked, 1001n).text, "(err u1413)");
    assert.equal(refund(asked, 1n).text, "(ok u1)");
    assert.equal(refund(asked, 1000n).text, "(err u1413)");
    assert.equal(refund(asked, MAX).text, "(err u1413)");
    assert.equal(refund(asked, 999n).text, "(ok u1000)");
    assert.equal(refund(asked, 1n).text, "(err u1413)");
    assert.equal(refunded(asked.id), "u1000");
    assert.equal(isPaid(asked.id), "true");
  });

  test(`${name} prints what it did, then the money moves with the intent id as its memo`, () => {
    const asked = paid(terms({ token, amount: 20n }));
    refund(asked, 5n);
    const answer = refund(asked, 6n);
    assert.deepEqual(
      Object.fromEntries(Object.entries(prints(answer)[0]).map(([field, its]) => [field, cvToString(its)])),
      {
        topic: '"refund"',
        version: "u1",
        "intent-id": asked.id,
        merchant: MERCHANT,
        to: ALICE,
        token: token === null ? "none" : `(some ${SBTC})`,
        amount: "u6",
        "refunded-total": "u11",
        "stacks-height": `u${answer.height}`,
        "burn-height": `u${answer.burnHeight}`,
      },
    );
    const [, transfer, memo] = answer.events;
    assert.deepEqual(
      [transfer.data.sender, transfer.data.recipient, transfer.data.amount],
      [MERCHANT, ALICE, "6"],
    );
    const label = token === null ? `0x${transfer.data.memo}` : cvToString(Cl.deserialize(memo.data.raw_value));
    assert.equal(label, asked.id);
  });

  test(`${name} is the merchant's alone`, () => {
    const asked = paid(terms({ token }));
    for (const stranger of [ALICE, BOB]) assert.equal(refund(asked, 1n, stranger).text, "(err u1401)");
    const wallets = refund(asked, 1n, MERCHANT, { contract: token === null ? "sbtc-payments" : "smart-wallet" });
    assert.equal(wallets.text, token === null ? "(ok u1)" : "(err u1401)", "a contract between has another tx-sender");
  });

  test(`${name} needs a receipt`, () => {
    assert.equal(refundId(`0x${"ee".repeat(32)}`, token, 1n).text, "(err u1404)");
  });

  test(`${name} returns what was paid, nothing else`, () => {
    const asked = paid(terms({ token }));
    assert.equal(refund(asked, 1n, MERCHANT, { token: other }).text, "(err u1412)");
    assert.equal(refund(asked, 1n, MERCHANT, { token: TOY }).text, "(err u1412)");
    assert.equal(refunded(asked.id), "u0");
  });

  test(`${name} refuses an amount of zero`, () => {
    assert.equal(refund(paid(terms({ token })), 0n).text, "(err u1400)");
  });

  test(`${name} of a merchant without the money fails and counts nothing`, () => {
    const asked = paid(terms({ token, merchant: BOB, amount: 30n }));
    spend(BOB, asset, 30n);
    const answer = refund(asked, 30n, BOB);
    assert.equal(answer.text, "(err u1)");
    assert.deepEqual(answer.events, []);
    assert.equal(refunded(asked.id), "u0");
  });

  test(`${name} works after the expiry`, () => {
    const asked = paid(terms({ token, expires: vm.time + 100n }));
    vm.mineStacksBlocks(11);
    assert.equal(pay(terms({ token, expires: asked.expires })).text, "(err u1410)");
    assert.equal(refund(asked, 1n).text, "(ok u1)");
  });
}

function spend(owner, asset, amount) {
  const asked = terms({ token: asset === "STX" ? null : SBTC, merchant: ALICE, amount });
  assert.match(pay(asked, owner).text, /^\(ok /);
}

test("a contract can be paid and can refund", () => {
  const asked = paid(terms({ merchant: WALLET, amount: 50n }));
  const before = vm.balance(SBTC_ASSET, ALICE);
  assert.equal(refund(asked, 50n, BOB, { contract: "smart-wallet" }).text, "(ok u50)");
  assert.equal(vm.balance(SBTC_ASSET, ALICE), before + 50n);
});

test("a payment by a contract is refunded to that contract", () => {
  const asked = terms({ amount: 60n });
  const id = pay(asked, BOB, "smart-wallet").text.slice(4, -1);
  const before = vm.balance(SBTC_ASSET, WALLET);
  assert.equal(refundId(id, SBTC, 60n).text, "(ok u60)");
  assert.equal(vm.balance(SBTC_ASSET, WALLET), before + 60n);
});

test("refunds of the largest amount end in the error code, never in an overflow", () => {
  mintToy(ALICE, MAX);
  const asked = paid(terms({ token: TOY, amount: MAX }));
  assert.equal(refund(asked, 1n).text, "(ok u1)");
  assert.equal(refund(asked, MAX).text, "(err u1413)");
  assert.equal(refund(asked, MAX - 1n).text, `(ok u${MAX})`);
  assert.equal(vm.balance(TOY_ASSET, ALICE), MAX);
  call("toy-token", "burn", [Cl.uint(MAX)], ALICE);
});
