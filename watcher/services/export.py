"""Payments as rows for the books: one row each, the same columns in every version, in base units."""

import json
from collections.abc import Mapping
from typing import Any, Final

from notifier.events import rfc3339
from watcher.schemas import PaymentIntentFilters
from watcher.services import queries
from watcher.services.context import Document
from watcher.services.payment_intents import PaymentIntentService
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import intent as intent_table

#: The columns of payments, in their order; new ones are added at the end. Amounts are whole base units of the
#: asset, with so many ``decimals``. ``transfers`` counts those in the chain; the columns after it are of the
#: newest one.
INTENT_COLUMNS: Final = (
    *("id", "created_at", "status", "flags", "reference", "description", "asset", "decimals"),
    *("amount", "amount_received", "amount_missing", "amount_over", "amount_refunded"),
    *("recipient", "expires_at", "succeeded_at"),
    *("transfers", "tx_id", "sender", "block_height", "block_time"),
    *("metadata", "merchant", "network"),
)


class ExportService(PaymentIntentService):
    """What is exported."""

    def export_intents(self, filters: PaymentIntentFilters) -> Document:
        """Return a page of the list as ``{rows, next_cursor}``: the cells of each row, by ``INTENT_COLUMNS``.

        It costs the same for a payment with thousands of transfers.
        """
        merchant = self.read_page(filters, intent_table.c.id, intent_table.c.merchant_id)
        found, following = queries.intent_rows(self.connection, filters, merchant=merchant)
        paid = transfer_store.newest_transfers(self.connection, [row["id"] for row in found])
        decimals = {asset.identifier: asset.decimals for asset in self.settings.assets.values()}
        rows = [self._row(row, paid.get(row["id"]), decimals) for row in found]
        return {"rows": rows, "next_cursor": following}

    def _row(
        self, row: Mapping[Any, Any], paid: Mapping[Any, Any] | None, decimals: Mapping[str, int]
    ) -> list[Any]:
        intent, state = intent_store.read_intent(row), intent_store.read_state(row)
        cells = {
            "id": intent.id,
            "created_at": rfc3339(intent.created_at),
            "status": state.status.value,
            "flags": " ".join(sorted(state.flags)),
            "reference": intent.reference,
            "description": intent.description,
            "asset": intent.asset,
            "decimals": decimals.get(intent.asset_identifier),
            "amount": intent.amount,
            "amount_received": state.received,
            "amount_missing": state.missing,
            "amount_over": state.over,
            "amount_refunded": state.refunded,
            "recipient": intent.recipient,
            "expires_at": rfc3339(intent.expires_at),
            "succeeded_at": None if state.succeeded_at is None else rfc3339(state.succeeded_at),
            "transfers": 0 if paid is None else paid["number"],
            "tx_id": None if paid is None else paid["tx_id"],
            "sender": None if paid is None else paid["sender"],
            "block_height": None if paid is None else paid["height"],
            "block_time": None if paid is None else rfc3339(paid["time"]),
            "metadata": json.dumps(intent.metadata, ensure_ascii=False) if intent.metadata else None,
            "merchant": intent.merchant,
            "network": self.settings.network.value,
        }
        return [cells[name] for name in INTENT_COLUMNS]
