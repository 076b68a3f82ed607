// The VM for other languages: a JSON request per line on stdin, a JSON answer per line on stdout, in order.
// {"op": name, ...} -> {"ok": what it gives} or {"error": text}. Clarity values are consensus hex, amounts decimal text.

import { createInterface } from "node:readline";
import { openSession, text } from "./session.mjs";
import { checkout, giveBack, readCondition } from "./wallet.mjs";

const vm = await openSession();

const operations = {
  call: ({ contract, name, args, sender }) => vm.call(contract, name, args, sender),
  read: ({ contract, name, args }) => vm.read(contract, name, args).result,
  mint_stx: ({ owner, amount }) => vm.mintStx(owner, amount),
  mint_sbtc: ({ owner, amount }) => vm.mintSbtc(owner, amount),
  holdings: ({ owner }) => vm.holdings(owner),
  time: () => vm.time,
  // The payment contract once more, at another address: of mainnet, for instance.
  deploy: ({ sender }) => vm.deploy("sbtc-payments", text("sbtc-payments.clar"), 4, sender).result,
  checkout: ({ intent, payer }) => checkout(vm, intent, payer),
  read_condition: ({ hex }) => readCondition(hex),
  give_back: ({ intent, amount, merchant }) => giveBack(vm, intent, amount, merchant),
};

const answer = (message) =>
  process.stdout.write(`${JSON.stringify(message, (_, value) => (typeof value === "bigint" ? `${value}` : value))}\n`);

answer({ ok: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...rest } = JSON.parse(line);
  try {
    answer({ ok: (await operations[op](rest)) ?? null });
  } catch (problem) {
    answer({ error: String(problem) });
  }
}
