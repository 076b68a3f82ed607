import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { BLOCK_SECONDS } from "../vm/session.mjs";
import {
  ALICE, BOB, Cl, HOSTILE, MAX, MERCHANT, PAYMENTS, SBTC, SBTC_ASSET, TOY, TOY_ASSET, WALLET, call, cvToString, idOf, isPaid,
  mintToy, pay, prints, receipt, refund, salt, terms, vm,
} from "./world.mjs";

const NOBODYS = `0x${"00".repeat(32)}`;

for (const [name, token, asset] of [["pay-token", SBTC, SBTC_ASSET], ["pay-stx", null, "STX"]]) {
  test(`${name} moves exactly the amount from the payer to the merchant`, () => {
    const before = [vm.balance(asset, ALICE), vm.balance(asset, MERCHANT)];
    const asked = terms({ token, amount: 700n });
    assert.equal(pay(asked).text, `(ok ${idOf(asked)})`);
    assert.deepEqual([vm.balance(asset, ALICE), vm.balance(asset, MERCHANT)], [before[0] - 700n, before[1] + 700n]);
    assert.deepEqual(vm.holdings(PAYMENTS), {});
  });

  test(`${name} leaves a receipt`, () => {
    const asked = terms({ token, amount: 7n });
    const id = idOf(asked);
    assert.equal(receipt(id), "none");
    assert.equal(isPaid(id), "false");
    const { height } = pay(asked);
    const named = token === null ? "none" : `(some ${SBTC})`;
    assert.equal(
      receipt(id),
      `(some (tuple (amount u7) (merchant ${MERCHANT}) (payer ${ALICE}) (refunded u0) (stacks-height u${height}) (token ${named})))`,
    );
    assert.equal(isPaid(id), "true");
  });

  test(`${name} prints the terms, then the money moves with the intent id as its memo`, () => {
    vm.mineBurnBlock();
    const asked = terms({ token, amount: 9n });
    const id = idOf(asked);
    const answer = pay(asked);
    const fields = prints(answer)[0];
    assert.deepEqual(
      Object.fromEntries(Object.entries(fields).map(([field, its]) => [field, cvToString(its)])),
      {
        topic: '"payment"',
        version: "u1",
        "intent-id": id,
        merchant: MERCHANT,
        payer: ALICE,
        token: token === null ? "none" : `(some ${SBTC})`,
        amount: "u9",
        "expires-at": `u${asked.expires}`,
        "stacks-height": `u${answer.height}`,
        "burn-height": `u${answer.burnHeight}`,
        "stacks-time": `u${answer.time}`,
      },
    );
    const [first, transfer, memo] = answer.events;
    assert.equal(first.data.contract_identifier, PAYMENTS);
    assert.deepEqual(
      [transfer.data.sender, transfer.data.recipient, transfer.data.amount],
      [ALICE, MERCHANT, "9"],
    );
    if (token === null) {
      assert.equal(answer.events.length, 2);
      assert.equal(`0x${transfer.data.memo}`, id);
    } else {
      assert.equal(answer.events.length, 3);
      assert.equal(transfer.data.asset_identifier, `${SBTC}::sbtc-token`);
      assert.equal(memo.data.contract_identifier, SBTC);
      assert.equal(cvToString(Cl.deserialize(memo.data.raw_value)), id);
    }
  });

  test(`${name} takes the same terms once`, () => {
    const asked = terms({ token });
    pay(asked);
    const before = vm.holdings(ALICE);
    assert.equal(pay(asked).text, "(err u1409)");
    assert.equal(pay(asked, MERCHANT).text, "(err u1409)");
    assert.deepEqual(vm.holdings(ALICE), before);
    refund(asked, asked.amount);
    assert.equal(pay(asked).text, "(err u1409)", "a refund does not make the terms payable again");
  });

  test(`${name} refuses when the block's time is past the expiry, and not before`, () => {
    const next = () => vm.time + BLOCK_SECONDS;
    assert.equal(pay(terms({ token, expires: next() - 1n })).text, "(err u1410)");
    const last = terms({ token, expires: next() });
    const answer = pay(last);
    assert.equal(answer.text, `(ok ${idOf(last)})`);
    assert.equal(answer.time, last.expires);
    assert.equal(pay(terms({ token, expires: 0n })).text, "(err u1410)");
    assert.match(pay(terms({ token, expires: MAX })).text, /^\(ok /);
  });

  test(`${name} refuses an amount of zero and takes one of one`, () => {
    const nothing = terms({ token, amount: 0n });
    assert.equal(pay(nothing).text, "(err u1400)");
    assert.equal(isPaid(idOf(nothing)), "false");
    assert.match(pay(terms({ token, amount: 1n })).text, /^\(ok /);
  });

  test(`${name} passes on the error of a payer without enough money, and leaves no receipt`, () => {
    for (const [amount, payer] of [[1n, BOB], [MAX, ALICE]]) {
      const asked = terms({ token, amount });
      const answer = pay(asked, payer);
      assert.equal(answer.text, "(err u1)");
      assert.deepEqual(answer.events, []);
      assert.equal(isPaid(idOf(asked)), "false");
    }
  });

  test(`${name} passes on the error of a merchant who pays himself`, () => {
    assert.equal(pay(terms({ token }), MERCHANT).text, "(err u2)");
  });

  test(`${name} by a contract: the contract is the payer`, () => {
    const asked = terms({ token, amount: 11n });
    const before = vm.balance(asset, WALLET);
    const answer = pay(asked, BOB, "smart-wallet");
    assert.equal(answer.text, `(ok ${idOf(asked)})`);
    assert.equal(cvToString(prints(answer)[0].payer), WALLET);
    assert.equal(vm.balance(asset, WALLET), before - 11n);
  });

  test(`${name}: whoever pays other terms pays another id`, () => {
    const asked = terms({ token });
    const others = [
      { merchant: ALICE }, { token: token === null ? SBTC : null }, { token: TOY }, { token: HOSTILE }, { amount: 999n },
      { expires: asked.expires + 1n }, { salt: salt() }, { salt: asked.salt.subarray(1) }, { salt: Buffer.alloc(0) },
    ];
    const ids = new Set(others.map((change) => idOf({ ...asked, ...change })));
    assert.equal(ids.size, others.length);
    assert.ok(!ids.has(idOf(asked)));
    pay({ ...asked, amount: 1n });
    assert.equal(isPaid(idOf(asked)), "false", "one unit under an intent's other terms does not spoil it");
    assert.match(pay(asked).text, /^\(ok /);
  });
}

test("the largest amount there is can be paid", () => {
  mintToy(ALICE, MAX);
  const asked = terms({ token: TOY, amount: MAX });
  const answer = pay(asked);
  assert.equal(answer.text, `(ok ${idOf(asked)})`);
  assert.equal(cvToString(prints(answer)[0].amount), `u${MAX}`);
  assert.equal(vm.balance(TOY_ASSET, MERCHANT), MAX);
  call("toy-token", "burn", [Cl.uint(MAX)], MERCHANT);
});

test("one transaction can pay several intents", () => {
  const [first, second] = [terms({ amount: 5n }), terms({ amount: 5n })];
  const args = [
    Cl.principal(SBTC), Cl.principal(MERCHANT), Cl.uint(5), Cl.uint(first.expires), Cl.buffer(first.salt),
    Cl.buffer(second.salt),
  ];
  const answer = call("smart-wallet", "pay-both", args, ALICE);
  assert.deepEqual(prints(answer).map((p) => cvToString(p["intent-id"])), [idOf(first), idOf(second)]);
  assert.deepEqual([isPaid(idOf(first)), isPaid(idOf(second))], ["true", "true"]);
});

test("the id is the sha256 of the terms' consensus bytes", () => {
  const asked = terms({ salt: Buffer.from("00112233445566778899aabbccddeeff", "hex"), amount: 150000n });
  asked.merchant = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM";
  assert.equal(idOf(asked), "0x0ce0dc3334ab025f576dd0622408ed93c2f53be78a5767a0946e721b21978ad8");
  const tuple = Cl.tuple({
    amount: Cl.uint(asked.amount),
    "expires-at": Cl.uint(asked.expires),
    merchant: Cl.principal(asked.merchant),
    salt: Cl.buffer(asked.salt),
    token: Cl.some(Cl.principal(SBTC)),
  });
  const digest = createHash("sha256").update(Buffer.from(Cl.serialize(tuple), "hex")).digest("hex");
  assert.equal(idOf(asked), `0x${digest}`);
});

test("an id that nobody paid has no receipt", () => {
  assert.equal(receipt(NOBODYS), "none");
  assert.equal(isPaid(NOBODYS), "false");
});
