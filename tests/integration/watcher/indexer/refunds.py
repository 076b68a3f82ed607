"""Payments and refunds through the contract on a ledger, and what is stored and sent of them."""

import json
from typing import Any

from sqlalchemy import insert, select

from chain.testing import Tx, txs
from notifier.schema import delivery, endpoint, event
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, LedgerFixture
from watcher.store.schema import refund


def subscribe(fixture: LedgerFixture, *events: str) -> None:
    row = {"id": "we_1", "merchant": fixture.merchant, "url": "https://shop.example/", "events": list(events)}
    with fixture.database.begin() as connection:
        connection.execute(
            insert(endpoint).values(**row, status="enabled", legacy_v0=False, secrets=[], created_at=0.0)
        )


def pay(fixture: LedgerFixture, intent: str, payer: str = PAYER) -> Tx:
    """Return the call that the intent itself shows."""
    shown = fixture.show(intent)
    values = {argument["name"]: argument["value"] for argument in shown["pay"]["contract"]["arguments"]}
    return txs.contract_payment(
        harness.PAYMENT_CONTRACT,
        payer,
        values["merchant"],
        int(values["amount"]),
        expires_at=int(values["expires-at"]),
        salt=bytes.fromhex(values["salt"].removeprefix("0x")),
        asset=shown["asset_identifier"],
    )


def back(fixture: LedgerFixture, intent: str, amount: int, payer: str = PAYER, **more: Any) -> Tx:
    shown = fixture.show(intent)
    fields = {"intent_id": fixture.terms_hash(intent), "asset": shown["asset_identifier"]} | more
    return txs.contract_refund(harness.PAYMENT_CONTRACT, shown["recipient"], payer, amount, **fields)


def reasons(fixture: LedgerFixture, intent: str) -> list[tuple[str, str | None]]:
    return [(entry["status"], entry["reason"]) for entry in fixture.show(intent)["timeline"]]


def bodies(fixture: LedgerFixture, kind: str) -> list[dict[str, Any]]:
    """Return the ``data`` of the events of a type, in the order of sending."""
    with fixture.database.read() as connection:
        rows = connection.execute(select(event.c.body).where(event.c.type == kind).order_by(event.c.n))
        return [json.loads(row.body)["data"] for row in rows]


def deliveries(fixture: LedgerFixture) -> list[str]:
    with fixture.database.read() as connection:
        return list(connection.execute(select(delivery.c.type).order_by(delivery.c.id)).scalars())


def rows(fixture: LedgerFixture) -> list[Any]:
    with fixture.database.read() as connection:
        return list(connection.execute(select(refund).order_by(refund.c.id)).all())
