// The execution cost of each function, measured in the VM, as a table for README.md. Run: npm run costs (--write puts it in)

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import Transactions from "@stacks/transactions";
import { FOLDER, SBTC, openSession, text } from "./session.mjs";

const { Cl } = Transactions;
const PAYER = "ST1SJ3DTE5DN7X54YDH5D64R3BCB6A2AG2ZQ8YPD5";
const MERCHANT = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG";
const DIMENSIONS = ["runtime", "read_count", "read_length", "write_count", "write_length"];
const BETWEEN = /(?<=<!-- costs -->\n).*(?=<!-- \/costs -->)/s;

export async function table() {
  const vm = await openSession({ costs: true });
  vm.mintSbtc(PAYER, 1_000_000);
  vm.mintStx(PAYER, 1_000_000);
  const hex = (values) => values.map((value) => Cl.serialize(value));
  const terms = (token) => [Cl.principal(MERCHANT), ...token, Cl.uint(50_000), Cl.uint(4_102_444_800n), Cl.buffer(Buffer.alloc(16))];
  const token = Cl.principal(SBTC);
  const call = (name, args, sender) => [name, vm.call("sbtc-payments", name, hex(args), sender)];
  const read = (name, args) => [name, vm.read("sbtc-payments", name, hex(args))];

  const byToken = call("pay-token", [token, ...terms([])], PAYER);
  const byStx = call("pay-stx", terms([]), PAYER);
  const [idToken, idStx] = [byToken, byStx].map(([, answer]) => Cl.deserialize(answer.result).value);
  const rows = [
    byToken,
    byStx,
    call("refund-token", [token, idToken, Cl.uint(50_000)], MERCHANT),
    call("refund-stx", [idStx, Cl.uint(50_000)], MERCHANT),
    read("get-receipt", [idToken]),
    read("is-paid", [idToken]),
    read("get-intent-id", terms([Cl.some(token)])),
  ];
  const head = `| function | ${DIMENSIONS.map((name) => name.replace("_", " ")).join(" | ")} | of a block |`;
  return [head, "|---|---:|---:|---:|---:|---:|---:|", ...rows.map(row)].join("\n") + "\n";
}

function row([name, { costs }]) {
  const spent = DIMENSIONS.map((dimension) => costs.total[dimension]);
  const share = Math.max(...DIMENSIONS.map((dimension) => costs.total[dimension] / costs.limit[dimension]));
  return `| \`${name}\` | ${spent.map((n) => n.toLocaleString("en")).join(" | ")} | ${(100 * share).toFixed(3)} % |`;
}

export const documented = () => BETWEEN.exec(text("README.md"))?.[0];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const measured = await table();
  process.stdout.write(measured);
  if (process.argv.includes("--write")) {
    writeFileSync(new URL("README.md", FOLDER), text("README.md").replace(BETWEEN, () => measured));
  }
}
