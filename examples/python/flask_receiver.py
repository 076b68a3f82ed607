"""A shop's webhook endpoint on Flask, with the public library ``standardwebhooks``.

Run it: ``python3 -m venv .venv && .venv/bin/pip install flask standardwebhooks``, then
``WEBHOOK_SECRET=whsec_… .venv/bin/flask --app flask_receiver run --port 8000``.
"""

import os
import sqlite3
from contextlib import closing

from flask import Flask, current_app, request
from standardwebhooks import Webhook

DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
app = Flask(__name__)


@app.post("/webhooks")
def webhooks() -> tuple[str, int]:
    """Take an event: verify it, handle it once, answer soon (the sender waits 15 s)."""
    try:
        event = webhook.verify(request.get_data(), dict(request.headers.items()))
    except Exception as why:
        # The library lets several kinds of errors out; whatever it is, the request is not genuine.
        current_app.logger.warning("webhook rejected: %r", why)
        return "", 400
    with closing(sqlite3.connect(DATABASE, timeout=10)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY)")
        database.execute("CREATE TABLE IF NOT EXISTS paid (intent TEXT PRIMARY KEY, state TEXT)")
        fresh = database.execute(
            "INSERT INTO webhook VALUES (?) ON CONFLICT DO NOTHING", (event["id"],)
        ).rowcount
        # A test event says what never happened, whatever its type.
        if fresh and not event.get("test") and event["type"] in ("payment.succeeded", "payment.failed"):
            # A failure after a success takes it back: the chain was reorganised. See "supersedes".
            intent = event["data"]["payment_intent"]["id"]
            database.execute("INSERT OR REPLACE INTO paid VALUES (?, ?)", (intent, event["type"]))
    return "", 204
