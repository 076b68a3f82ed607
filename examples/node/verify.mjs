// Checks a captured delivery by three public libraries. Reads {secrets, headers, body} as JSON from standard input (body
// in base64), prints what each library says, and exits 1 if one of them does not accept it.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";

const { secrets, headers, body } = JSON.parse(readFileSync(0, "utf8"));
const raw = Buffer.from(body, "base64");

const libraries = {
  standardwebhooks: (secret) => new Webhook(secret).verify(raw, headers),
  svix: (secret) => new SvixWebhook(secret).verify(raw, headers),
  stripe: (secret) => Stripe.webhooks.constructEvent(raw, headers["x-webhook-signature"], secret),
};

const said = [];
for (const secret of secrets) {
  for (const [library, verify] of Object.entries(libraries)) {
    try {
      said.push({ library, accepted: true, id: verify(secret).id });
    } catch (error) {
      said.push({ library, accepted: false, why: error.constructor.name });
    }
  }
}
console.log(JSON.stringify(said));
process.exitCode = said.every((one) => one.accepted) ? 0 : 1;
