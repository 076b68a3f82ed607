// A shop's webhook endpoint on Express, with the public library standardwebhooks.
// Run it: npm ci, then WEBHOOK_SECRET=whsec_… PORT=8000 node receiver.mjs
import express from "express";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
// In a shop: a table with a unique column, written in the transaction that handles the event.
const seen = new Set();

const app = express();

// The raw bytes are verified: express.json() would parse them and throw them away. A body has at most 256 KiB; Express's
// own limit is 100 KiB.
app.post("/webhooks", express.raw({ type: "application/json", limit: "256kb" }), (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch (error) {
    console.error(`webhook rejected: ${error.message}`);
    return response.sendStatus(400);
  }
  if (!seen.has(event.id)) {
    seen.add(event.id);
    // Ship nothing for an event that says "test": true: nothing of it happened.
    console.log(JSON.stringify({ id: event.id, type: event.type, sequence: event.sequence, test: event.test }));
  }
  return response.sendStatus(204);
});

const server = app.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => {
  console.log(JSON.stringify({ listening: server.address().port }));
});
