// Make the scripts of the pages: one bundle per entry of scripts/, in the folder that is named.
//   node build.mjs built            write them
//   node build.mjs --check built    only compare, and exit with 1 where one is not what its sources give
import { build } from "esbuild";
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

// Each is served under its own name. A format other than a page's own script is named here.
const ENTRIES = [
  { in: "scripts/checkout.ts", out: "checkout.js" },
  { in: "scripts/frame.ts", out: "frame.js" },
  { in: "scripts/widget.ts", out: "widget.js" },
  { in: "scripts/widget-module.ts", out: "widget.mjs", format: "esm" },
  { in: "scripts/dashboard.ts", out: "dashboard.js" },
  { in: "scripts/refund.ts", out: "refund.js" },
];

const checking = process.argv[2] === "--check";
const folder = process.argv.at(-1);
const made = new Map();
for (const entry of ENTRIES) {
  const result = await build({
    entryPoints: [entry.in],
    bundle: true,
    minify: true,
    charset: "utf8",
    format: entry.format ?? "iife",
    globalName: entry.global,
    target: "es2020",
    legalComments: "none",
    outfile: join(folder, entry.out),
    write: !checking,
    logLevel: "warning",
  });
  if (checking) made.set(entry.out, Buffer.from(result.outputFiles[0].contents));
  else made.set(entry.out, null);
}
const stale = readdirSync(folder).filter((file) => file.endsWith("js") && !made.has(basename(file)));
if (checking) {
  const differing = [...made].filter(
    ([file, bytes]) => !existsSync(join(folder, file)) || !readFileSync(join(folder, file)).equals(bytes),
  );
  const wrong = [...differing.map(([file]) => file), ...stale];
  if (wrong.length) {
    console.error(`built/ is not what scripts/ gives: ${wrong.join(", ")}; run: make scripts`);
    process.exit(1);
  }
} else for (const file of stale) rmSync(join(folder, file));
