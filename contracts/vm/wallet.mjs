// README.md's call example, run as it stands there against a wallet that is played here: it builds the transaction like a
// wallet does, and executes the call in the VM instead of broadcasting it.

import Transactions from "@stacks/transactions";
import { text } from "./session.mjs";

const { deserializeCV, makeUnsignedContractCall, wireToPostCondition } = Transactions;
const EXAMPLE = /<!-- example -->\n```js\n(.*?)```/s;
// Any key: nothing is signed.
const PUBLIC_KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

// {txid, mode, conditions, answer}: what the example returns, what the wallet would have signed, what the VM answers.
export async function checkout(session, intent, payer) {
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
    seen.answer = session.call(asked.contract, asked.functionName, asked.functionArgs, payer);
    return { txid: transaction.txid() };
  }
  const [line, name] = ['import { connect, request } from "@stacks/connect";', "export async function pay"];
  const example = EXAMPLE.exec(text("README.md"))?.[1];
  if (!example?.includes(line) || !example.includes(name)) throw new Error("README.md's example is not where it was");
  const script = example.replace(line, "").replace(name, "return async function pay");
  const pay = new Function("connect", "request", script)(async () => undefined, request);
  return { txid: await pay(intent), ...seen };
}
