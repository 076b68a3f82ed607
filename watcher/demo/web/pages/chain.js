// The chain's buttons, and the payments that they pay.
"use strict";

const said = document.getElementById("said");
const list = document.getElementById("intents");
const cards = new Map();

async function act(action, intent) {
  const answer = await fetch("/actions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ action, intent }),
  });
  said.textContent = answer.ok ? "" : (await answer.json()).error;
  await show();
}

function button(text, action, intent) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset.action = action;
  made.dataset.intent = intent;
  return made;
}

/** Make the card of a payment once, so that its buttons stay where they are while it changes. */
function cardOf(intent) {
  const there = cards.get(intent.id);
  if (there) return there;
  const [item, name, status, amounts, row] = ["li", "h3", "p", "p", "div"].map((tag) => document.createElement(tag));
  const link = document.createElement("a");
  link.href = intent.checkout_url;
  link.target = "checkout";
  link.textContent = intent.description || intent.reference;
  name.append(link);
  amounts.className = "soft";
  row.className = "row";
  const pay = button("Pay", "pay", intent.id);
  row.append(pay, button("Pay half", "half", intent.id), button("Pay too much", "over", intent.id));
  item.append(name, status, amounts, row);
  const card = { item, status, amounts, pay };
  cards.set(intent.id, card);
  return card;
}

function amount(units, asset) {
  return asset === "stx" ? `${Number(units) / 1e6} STX` : `${Number(units).toLocaleString("en")} sats`;
}

async function show() {
  const { chain, intents } = await (await fetch("/state")).json();
  const time = new Date(chain.time * 1000).toISOString().slice(0, 19).replace("T", " ");
  document.getElementById("tip").textContent =
    `Block ${chain.height}, Bitcoin block ${chain.burn_height}, ${time} UTC by the chain's clock, ` +
    `${chain.pending} in the mempool${chain.standing ? ". It stands still." : "."}`;
  document.getElementById("stand").textContent = chain.standing ? "Let the chain go on" : "Stop the chain";
  for (const intent of intents) {
    const card = cardOf(intent);
    const flags = intent.flags.length ? ` (${intent.flags.join(", ")})` : "";
    card.status.textContent = `${intent.status}${intent.in_flight ? ", seen in the mempool" : ""}${flags}`;
    card.amounts.textContent =
      `${amount(intent.amount, intent.asset)}, received ${amount(intent.amount_received, intent.asset)}, ` +
      `memo ${intent.pay.memo}`;
    const started = intent.amount_received !== "0" && intent.amount_missing !== "0";
    card.pay.textContent = started ? "Pay the rest" : intent.amount_missing === "0" ? "Pay again" : "Pay";
  }
  const shown = intents.map((intent) => cards.get(intent.id).item);
  if (shown.length && (shown.length !== list.children.length || shown[0] !== list.firstElementChild)) {
    list.replaceChildren(...shown);
  }
}

document.addEventListener("click", (event) => {
  const { action, intent } = event.target.closest("button")?.dataset ?? {};
  if (action) act(action, intent).catch((error) => (said.textContent = `That did not work: ${error.message}`));
});
setInterval(() => show().catch(() => {}), 1000);
show().catch(() => {});
