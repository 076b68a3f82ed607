"""Parse and validate the API's list of pending transactions (pure).

Field names: Stacks Blockchain API 9.0 (``/extended/v3/mempool/transactions``).
"""

import re
from dataclasses import dataclass

from chain.api.parse import stx_transfer
from chain.api.parse_fields import (
    as_hash,
    as_name,
    as_next_cursor,
    as_object,
    as_principal,
    as_rows,
    as_text,
)
from chain.model import ContractCall, TransferEvent

#: Format of a cursor in this list: time of receipt, transaction id.
CURSOR = re.compile(r"[0-9]{1,20}:0x[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTx:
    """A pending transaction: its intention, since it may never be mined."""

    tx_id: str
    sender: str
    #: Set for a plain STX transfer.
    transfer: TransferEvent | None = None
    #: Set for a contract call; the list has no arguments.
    call: ContractCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPage:
    """One page of the mempool, newest first."""

    results: tuple[PendingTx, ...]
    #: Cursor of the page with older rows; None on the last page.
    next_cursor: str | None
    #: ETag of the whole list, with its quotes; for ``If-None-Match``.
    etag: str | None = None


def pending_page(body: object, *, limit: int, etag: str | None = None) -> PendingPage:
    """Parse a page of the mempool, at most ``limit`` rows."""
    fields = as_object(body, "answer")
    rows = as_rows(fields, limit)
    older = as_next_cursor(fields, CURSOR, "time:hash")
    return PendingPage(results=tuple(_pending(row) for row in rows), next_cursor=older, etag=etag)


def _pending(row: object) -> PendingTx:
    fields = as_object(row, "transaction")
    sender = as_principal(as_object(fields.get("sender"), "sender").get("address"), "sender.address")
    transfer: TransferEvent | None = None
    call: ContractCall | None = None
    match as_text(fields.get("type"), "type"):
        case "token_transfer":
            transfer = stx_transfer(fields, sender)
        case "contract_call":
            payload = as_object(fields.get("contract_call"), "contract_call")
            call = ContractCall(
                contract_id=as_principal(payload.get("contract_id"), "contract_call.contract_id"),
                function=as_name(payload.get("function_name"), "contract_call.function_name"),
            )
    return PendingTx(tx_id=as_hash(fields.get("tx_id"), "tx_id"), sender=sender, transfer=transfer, call=call)
