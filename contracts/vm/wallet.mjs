// README.md's call example, run as it stands there against a wallet that is played here: it builds the transaction like a
// wallet does, and executes the call in the VM instead of broadcasting it.

import Transactions from "@stacks/transactions";
import { text } from "./session.mjs";

const { Cl, deserializeCV, deserializePostConditionWire, makeUnsignedContractCall, wireToPostCondition } = Transactions;
const EXAMPLE = /<!-- example -->\n```js\n(.*?)```/s;
// Any key: nothing is signed.
const PUBLIC_KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

export const checkout = (session, intent, payer) => run(session, payer, (example) => example.pay(intent));

export const giveBack = (session, intent, amount, merchant) =>
  run(session, merchant, (example) => example.refund(intent, amount));

// A post-condition's consensus hex as the library reads it: {type, address, condition, amount, asset}.
export const readCondition = (hex) => wireToPostCondition(deserializePostConditionWire(hex));

// {txid, mode, conditions, answer}: what the example returns, what the wallet would have signed, what the VM answers.
async function run(session, signer, act) {
  const seen = {};
  async function request(method, asked) {
    if (method !== "stx_callContract") throw new Error(`no wallet knows ${method}`);
    const [contractAddress, contractName] = asked.contract.split(".");
    const transaction = await makeUnsignedContractCall({
      ...asked,
      contractAddress,
      contractName,
      functionArgs: asked.functionArgs.map((hex) => deserializeCV(hex)),
      publicKey: PUBLIC_KEY,
      fee: 0,
      nonce: 0,
    });
    seen.mode = transaction.postConditionMode;
    seen.conditions = transaction.postConditions.values.map(wireToPostCondition);
    seen.answer = session.call(asked.contract, asked.functionName, asked.functionArgs, signer);
    return { txid: transaction.txid() };
  }
  return { txid: await act(load(request)), ...seen };
}

// The example's functions, with a wallet that asks nobody.
function load(request) {
  let script = EXAMPLE.exec(text("README.md"))?.[1] ?? "";
  for (const line of ['import { connect, request } from "@stacks/connect";', 'import { Cl } from "@stacks/transactions";']) {
    if (!script.includes(line)) throw new Error(`README.md's example has no ${line}`);
    script = script.replace(line, "");
  }
  for (const name of ["pay", "refund"]) {
    if (!script.includes(`export async function ${name}(`)) throw new Error(`README.md's example has no ${name}`);
  }
  script = `${script.replaceAll("export async function", "async function")}\nreturn { pay, refund };`;
  return new Function("connect", "request", "Cl", script)(async () => undefined, request, Cl);
}
