// What a shop writes: ask its own server for a payment, and open it in the widget's window.
"use strict";

const said = document.getElementById("said");

async function buy(item) {
  const answer = await fetch("/orders", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ item }),
  });
  const order = await answer.json();
  if (!answer.ok) throw new Error(order.error);
  SbtcPay.open({
    checkoutUrl: order.checkoutUrl,
    color: "#0b6b3a",
    onSuccess: () => (said.textContent = "The window says that it is paid. Thank you!"),
    onFailure: ({ state }) => (said.textContent = `The window says: ${state}.`),
  });
}

const link = document.querySelector("sbtc-pay");
link.addEventListener("success", () => (said.textContent = "The window says that the tea is paid. Thank you!"));
link.addEventListener("failure", ({ detail }) => (said.textContent = `The window says: ${detail.state}.`));

for (const button of document.querySelectorAll("[data-item]")) {
  button.addEventListener("click", () => {
    buy(button.dataset.item).catch((error) => (said.textContent = `That did not work: ${error.message}`));
  });
}

async function showOrders() {
  const orders = await (await fetch("/orders")).json();
  if (!orders.length) return;
  document.getElementById("orders").replaceChildren(
    ...orders.map((order) => {
      const row = document.createElement("tr");
      for (const text of [order.description, order.reference, order.event]) row.insertCell().textContent = text;
      return row;
    }),
  );
}

setInterval(() => showOrders().catch(() => {}), 2000);
showOrders().catch(() => {});
