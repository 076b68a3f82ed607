// A wallet's keys, for other languages: a JSON request per line on stdin, a JSON answer per line on stdout, in order.
// {"op": "addresses"} -> {"mainnet": "SP…", "testnet": "ST…"}
// {"op": "sign", "method", "params", "nonce"} -> {"raw": hex, "txid": hex, "aborts": why or null}
// Transactions are built with the library that the wallets use; `aborts` is what the chain would do with them, as far as
// post-conditions decide.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../../contracts/", import.meta.url));
const {
  Cl,
  PostConditionMode,
  deserializeCV,
  deserializePostConditionWire,
  getAddressFromPrivateKey,
  makeContractCall,
  makeSTXTokenTransfer,
  wireToPostCondition,
} = require("@stacks/transactions");

const KEY = `${"5c".repeat(32)}01`;
const address = (network) => getAddressFromPrivateKey(KEY, network);

async function sign({ method, params, nonce }) {
  const made = method === "stx_transferStx" ? await transfer(params, nonce) : await call(params, nonce);
  return { raw: made.transaction.serialize(), txid: made.transaction.txid(), aborts: made.aborts };
}

async function transfer({ recipient, amount, memo, network }, nonce) {
  const transaction = await makeSTXTokenTransfer({
    recipient,
    amount,
    memo,
    network,
    nonce,
    fee: 500,
    senderKey: KEY,
  });
  return { transaction, aborts: null };
}

async function call({ contract, functionName, functionArgs, postConditions, postConditionMode, network }, nonce) {
  const [contractAddress, contractName] = contract.split(".");
  const args = functionArgs.map((hex) => deserializeCV(hex));
  const conditions = postConditions.map((hex) => wireToPostCondition(deserializePostConditionWire(hex)));
  const transaction = await makeContractCall({
    contractAddress,
    contractName,
    functionName,
    functionArgs: args,
    postConditions: conditions,
    postConditionMode: { deny: PostConditionMode.Deny, allow: PostConditionMode.Allow }[postConditionMode],
    validateWithAbi: false,
    network,
    nonce,
    fee: 500,
    senderKey: KEY,
  });
  const aborts = check(moved(contract, functionName, args), conditions, postConditionMode, address(network));
  return { transaction, aborts };
}

// What the call takes from its signer: [contract or STX, amount], as the payment contract and tokens do it.
function moved(contract, name, args) {
  if (name === "transfer") return [contract, args[0].value];
  if (name.endsWith("-stx")) return ["STX", args[1].value];
  return [args[0].value, args[2].value];
}

// Why the chain would undo it: in deny mode what moves must be named by a condition, and every condition must hold.
function check([token, amount], conditions, mode, signer) {
  const holds = { eq: (want) => amount === want, gte: (want) => amount >= want, lte: (want) => amount <= want };
  let named = mode === "allow";
  for (const condition of conditions) {
    if (!["origin", signer].includes(condition.address)) return `a condition on ${condition.address}`;
    const asset = condition.type === "stx-postcondition" ? "STX" : condition.asset.split("::")[0];
    if (asset !== token) return `a condition on ${asset}`;
    if (!holds[condition.condition]?.(BigInt(condition.amount))) return `${condition.condition} ${condition.amount}`;
    named = true;
  }
  return named ? null : `nothing names ${token}`;
}

const operations = {
  addresses: () => ({ mainnet: address("mainnet"), testnet: address("testnet") }),
  sign,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await operations[op](rest) };
  } catch (problem) {
    answer = { error: String(problem) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
