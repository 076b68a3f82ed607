// Reads the SDK's lcov report: one record per test name, of which a line or branch needs only one hit.

export function coverage(lcov) {
  const found = { DA: new Map(), BRDA: new Map(), FN: new Map() };
  const note = (kind, key, hits) => found[kind].set(key, (found[kind].get(key) ?? 0) + Number(hits));
  let ours = false;
  for (const line of lcov.split("\n")) {
    const [kind, rest = ""] = line.split(/:(.*)/s);
    const fields = rest.split(",");
    if (kind === "SF") ours = rest.endsWith("/sbtc-payments.clar");
    if (!ours) continue;
    if (kind === "DA") note("DA", `line ${fields[0]}`, fields[1]);
    if (kind === "BRDA") note("BRDA", `line ${fields[0]}, branch ${fields[2]}`, fields[3]);
    if (kind === "FN") note("FN", fields[1], 0);
    if (kind === "FNDA") note("FN", fields[1], fields[0]);
  }
  const count = (hits) => ({ hit: [...hits.values()].filter(Boolean).length, all: hits.size });
  return {
    lines: count(found.DA),
    branches: count(found.BRDA),
    functions: count(found.FN),
    missing: Object.values(found).flatMap((hits) => [...hits].filter(([, n]) => !n).map(([key]) => key)),
  };
}
