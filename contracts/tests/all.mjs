// Every test in one process and one VM session, then what they have seen and covered. Run: npm test

import assert from "node:assert/strict";
import { test } from "node:test";
import { coverage } from "../vm/coverage.mjs";
import { text } from "../vm/session.mjs";
import "./pay.test.mjs";
import "./refund.test.mjs";
import "./hostile.test.mjs";
import "./source.test.mjs";
import "./costs.test.mjs";
import { seen, vm } from "./world.mjs";

test("every error code and print is seen; every line, branch and function is covered", () => {
  const declared = [...text("sbtc-payments.clar").matchAll(/^\(define-constant ERR-\S+ \(err u(\d+)\)\)$/gm)];
  const codes = declared.map(([, code]) => Number(code));
  assert.deepEqual(codes.filter((code) => !seen.errors.has(code)), [], "error codes that no test has seen");
  assert.ok(seen.errors.has(1500) && seen.errors.has(1628), "both kinds of asset violation are seen");
  assert.deepEqual([...seen.topics].sort(), ["payment", "refund"]);

  const { lines, functions, branches, missing } = coverage(vm.sdk.collectReport(false, "").coverage);
  const share = ({ hit, all }) => `${hit}/${all}`;
  console.log(
    `sbtc-payments.clar: lines ${share(lines)}, branches ${share(branches)}, functions ${share(functions)} covered;` +
      ` error codes seen: ${[...seen.errors].sort((a, b) => a - b).join(" ")}`,
  );
  assert.deepEqual(missing, [], "not covered");
});
