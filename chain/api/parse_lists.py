"""Parse and validate the lists in which transactions that concern somebody are found (pure).

Transfers of a principal (``/extended/v3/principals/{p}/transfers/…``, API 9.1) and the prints of a contract
(``/extended/v2/smart-contracts/{id}/logs``). Of each row only what identifies the transaction is read: what
it moved is read from its own events.
"""

import re
from dataclasses import dataclass

from chain.api.parse_fields import (
    Malformed,
    as_bytes,
    as_count,
    as_hash,
    as_next_cursor,
    as_object,
    as_principal,
    as_rows,
    shown,
)
from chain.model import MAX_VALUE_BYTES

#: Format of cursors: height, microblock sequence, index of the transaction, index of the event.
CURSOR = re.compile(r"[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class ListedTransfer:
    """A transaction that moved something of a principal, and its block."""

    tx_id: str
    block_height: int
    #: Index block hash.
    block_hash: str
    #: None for a burn.
    recipient: str | None


@dataclass(frozen=True, slots=True)
class ListedPrint:
    """A transaction in which a contract printed something; empty if it was too long to matter."""

    tx_id: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPage:
    """One page of a principal's transfers, newest first."""

    results: tuple[ListedTransfer, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintPage:
    """One page of a contract's prints, newest first."""

    results: tuple[ListedPrint, ...]
    next_cursor: str | None

    @property
    def next_height(self) -> int | None:
        """Height of the newest row that is left; None when there is none."""
        return None if self.next_cursor is None else int(self.next_cursor.partition(":")[0])


def transfer_page(body: object, *, limit: int) -> TransferPage:
    """Parse a page of transfers, at most ``limit`` rows."""
    fields = as_object(body, "answer")
    rows = as_rows(fields, limit)
    older = as_next_cursor(fields, CURSOR, "height:sequence:index:index")
    return TransferPage(results=tuple(map(_transfer, rows)), next_cursor=older)


def _transfer(row: object) -> ListedTransfer:
    fields = as_object(row, "transfer")
    block = as_object(fields.get("block"), "block")
    return ListedTransfer(
        tx_id=as_hash(as_object(fields.get("transaction"), "transaction").get("tx_id"), "transaction.tx_id"),
        block_height=as_count(block.get("height"), "block.height"),
        block_hash=as_hash(block.get("index_hash"), "block.index_hash"),
        recipient=None if fields.get("recipient") is None else as_principal(fields["recipient"], "recipient"),
    )


def print_page(body: object, *, limit: int) -> PrintPage:
    """Parse a page of a contract's logs, at most ``limit`` rows; there ``prev_cursor`` is older."""
    fields = as_object(body, "answer")
    rows = as_rows(fields, limit)
    older = fields.get("prev_cursor")
    if older is not None and not (isinstance(older, str) and CURSOR.fullmatch(older)):
        raise Malformed(f"prev_cursor must be height:sequence:index:index or null, not {shown(older)}")
    return PrintPage(results=tuple(map(_print, rows)), next_cursor=older)


def _print(row: object) -> ListedPrint:
    fields = as_object(row, "log")
    log = as_object(fields.get("contract_log"), "contract_log")
    value = as_bytes(as_object(log.get("value"), "contract_log.value").get("hex"), "contract_log.value.hex")
    return ListedPrint(
        tx_id=as_hash(fields.get("tx_id"), "tx_id"), value=value if len(value) <= MAX_VALUE_BYTES else b""
    )
