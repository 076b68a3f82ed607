import assert from "node:assert/strict";
import { test } from "node:test";
import "./world.mjs"; // first the tests' own session: one is opened at a time
import { documented, table } from "../vm/costs.mjs";

test("the README's cost table is what the VM measures (else: npm run costs -- --write)", async () => {
  assert.equal(documented(), await table());
});
