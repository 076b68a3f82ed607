"""A shop's webhook endpoint on FastAPI, with the helper ``notifier.verify``.

Run it: ``python3 -m venv .venv && .venv/bin/pip install fastapi uvicorn sbtc-watcher`` (or copy
``notifier/verify.py`` beside this file), then ``WEBHOOK_SECRET=whsec_… .venv/bin/uvicorn fastapi_receiver:app
--port 8000``.
"""

import logging
import os
import sqlite3
from contextlib import closing

from fastapi import FastAPI, Request, Response

from notifier.verify import Event, Rejected, verify

SECRET = os.environ["WEBHOOK_SECRET"]
DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")

log = logging.getLogger("shop")
app = FastAPI()


def shop_database() -> sqlite3.Connection:
    """Open the shop's database; the table of events is part of it, so that one transaction covers both."""
    database = sqlite3.connect(DATABASE, timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY)")
    database.execute(
        "CREATE TABLE IF NOT EXISTS story (intent TEXT PRIMARY KEY, sequence INTEGER, event TEXT)"
    )
    return database


def handle(database: sqlite3.Connection, event: Event) -> None:
    """Change what the shop knows of the order, within the transaction that remembers the event."""
    if event.test:  # a sample, whatever its type: nothing of it happened
        return
    # An older event that was retried must not overwrite a newer one: its number is lower.
    database.execute(
        "INSERT INTO story VALUES (?, ?, ?) ON CONFLICT (intent) DO UPDATE"
        " SET sequence = excluded.sequence, event = excluded.event WHERE excluded.sequence > sequence",
        (event.intent["id"], event.sequence, event.type),
    )


@app.post("/webhooks")
async def webhooks(request: Request) -> Response:
    """Take an event: verify it, handle it once, answer soon (the sender waits 15 s)."""
    try:
        event = verify(await request.body(), request.headers, SECRET)
    except Rejected as why:
        log.warning("webhook rejected: %s", why)
        return Response(status_code=400)
    with closing(shop_database()) as database, database:
        fresh = database.execute(
            "INSERT INTO webhook VALUES (?) ON CONFLICT DO NOTHING", (event.id,)
        ).rowcount
        if fresh:
            handle(database, event)
    return Response(status_code=204)
