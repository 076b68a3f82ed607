// What the widget decides without a page: which address it frames, what it believes, and its colors.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../../../watcher/web/", import.meta.url));
const { build } = createRequire(`${web}/`)("esbuild");

async function load(name) {
  const bundle = await build({
    entryPoints: [`${web}/scripts/widget/${name}.ts`], bundle: true, format: "esm", write: false,
  });
  return import(`data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString("base64")}`);
}

const { addressOf, folderOf } = await load("address");
const { read, wrap } = await load("messages");
const { colorOf, isLight, themeOf } = await load("look");
const { textsFor } = await load("texts");

const HOME = new URL("https://pay.example/x/");
const TOKEN = "3q2-7wWk1mXb9fYc0aTzRg";

test("the folder of the script is the server's, whatever comes after it", () => {
  assert.equal(folderOf("https://pay.example/x/widget.js?v=1#a").href, HOME.href);
  assert.equal(folderOf("https://pay.example/widget.mjs").href, "https://pay.example/");
  for (const none of [undefined, "", "file:///srv/widget.js", "blob:https://pay.example/1"]) {
    assert.equal(folderOf(none), undefined);
  }
});

test("a checkout's address is the whole one, or the path of a server without a public address", () => {
  const wanted = `https://pay.example/x/pay/${TOKEN}`;
  for (const given of [wanted, `/pay/${TOKEN}`, `pay/${TOKEN}`, `${wanted}#x`]) {
    assert.equal(addressOf({ checkoutUrl: given }, HOME).href, wanted);
  }
});

test("a link is a code, a path or a whole address", () => {
  const wanted = "https://pay.example/x/l/K7Q2M8ZR4T9C";
  for (const given of ["K7Q2M8ZR4T9C", "/l/K7Q2M8ZR4T9C", wanted]) {
    assert.equal(addressOf({ link: given }, HOME).href, wanted);
  }
});

test("another server counts only when it is named", () => {
  const url = `https://other.example/pay/${TOKEN}`;
  assert.throws(() => addressOf({ checkoutUrl: url }, HOME), /not below https:\/\/pay\.example\/x\/pay\//);
  for (const server of ["https://other.example", "https://other.example/"]) {
    assert.equal(addressOf({ checkoutUrl: url, server }, HOME).href, url);
    assert.equal(addressOf({ link: "tea", server }, undefined).href, "https://other.example/l/tea");
  }
});

test("what is no page of the server is refused with words", () => {
  const wrong = [
    {}, { checkoutUrl: "", link: "" }, { checkoutUrl: "/pay/a", link: "b" },
    { checkoutUrl: "javascript:alert(1)" }, { checkoutUrl: "data:text/html,x" }, { link: "javascript:alert(1)" },
    { checkoutUrl: "//evil.example/pay/a" }, { checkoutUrl: "https://pay.example.evil.example/x/pay/a" },
    { checkoutUrl: "https://pay.example@evil.example/x/pay/a" }, { checkoutUrl: "https://u:p@pay.example/x/pay/a" },
    { checkoutUrl: "https://:p@pay.example/x/pay/a" },
    { checkoutUrl: "http://pay.example/x/pay/a" }, { checkoutUrl: "/dashboard" }, { checkoutUrl: "/pay/../dashboard" },
    { checkoutUrl: "/pay/a/b" }, { checkoutUrl: "/pay/" }, { checkoutUrl: "/l/tea" }, { link: "/pay/a" },
    { link: "te a" }, { link: "../dashboard" }, { link: "a", server: "ftp://pay.example" }, { link: "a", server: "pay" },
  ];
  for (const target of wrong) {
    assert.throws(() => addressOf(target, HOME), { name: "TypeError", message: /^sbtc-pay: / }, JSON.stringify(target));
  }
  assert.throws(() => addressOf({ link: "a" }, undefined), /name the server/);
});

test("what the frame tells arrives as it was sent", () => {
  const origin = "https://pay.example";
  const status = { type: "status", state: "paid", paymentIntent: "pi_1", checkoutUrl: `${origin}/pay/${TOKEN}` };
  for (const message of [{ type: "ready" }, { type: "leave" }, { type: "close" }, { type: "height", height: 5 }, status]) {
    assert.deepEqual(read(structuredClone(wrap(message)), origin), message);
  }
  assert.equal(read({ ...wrap(status), checkoutUrl: "https://evil.example/pay/a" }, origin), undefined);
  for (const other of [null, undefined, 1, "x", [], {}, { v: 1 }, { v: 1, type: "ready" }, { v: 2, type: "sbtc-pay.ready" }]) {
    assert.equal(read(other, origin), undefined);
  }
});

test("colors and themes are what they are or nothing", () => {
  assert.equal(colorOf({ color: "#F7931A" }), "f7931a");
  for (const color of ["red", "#fff", "f7931a", "#f7931a;x", "", null]) assert.equal(colorOf({ color }), undefined);
  assert.deepEqual(["light", "dark", "auto", "", null].map((theme) => themeOf({ theme })),
    ["light", "dark", undefined, undefined, undefined]);
  assert.deepEqual(["ffffff", "f7931a", "8db0ff", "000000", "2450c8", "0b6b3a"].map(isLight),
    [true, true, true, false, false, false]);
});

test("words are those of the first language that there are any in, the browser's at last", () => {
  const navigator = { value: { languages: ["nl", "fr-CA"] }, configurable: true };
  Object.defineProperty(globalThis, "navigator", navigator);
  assert.equal(textsFor("nl", "").language, "fr");
  navigator.value = { languages: ["nl"] };
  Object.defineProperty(globalThis, "navigator", navigator);
  assert.equal(textsFor().language, "en");
  assert.equal(textsFor("de-AT").language, "de");
  assert.equal(textsFor("nl", "PT-br").language, "pt");
  assert.equal(textsFor("constructor", null, "ja").language, "ja");
});
