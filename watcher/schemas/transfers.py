"""Transfers to merchants, matched to an intent or not: responses and requests."""

from typing import Literal

from watcher.schemas.base import (
    EXAMPLE_ADDRESS,
    EXAMPLE_BLOCK_HASH,
    EXAMPLE_SBTC,
    EXAMPLE_TX_ID,
    Amount,
    Depth,
    Document,
    Hex,
    OwnedPage,
    Request,
    Time,
    example,
)
from watcher.schemas.fields import IdIn, TextIn, YesOrNoIn


class Memo(Document):
    """Memo of a transfer; `text` is null when it is not plain ASCII."""

    hex: Hex
    text: str | None


class Transfer(Document):
    """A transfer to a merchant."""

    id: str
    object: Literal["transfer"]
    tx_id: Hex
    event_index: int
    status: Literal["canonical", "orphaned"]
    merchant: str | None
    intent: str | None
    unmatched: (
        Literal[
            "no_intent",
            "wrong_asset",
            "wrong_recipient",
            "wrong_payer",
            "unknown_terms",
            "before_intent",
            "too_late",
        ]
        | None
    )
    """Why it is matched to no intent."""
    assigned: bool
    """An operator assigned it to its intent."""
    route: str
    asset_identifier: str
    sender: str | None
    recipient: str
    amount: Amount
    memo: Memo | None
    terms_hash: Hex | None
    block_height: int
    block_hash: Hex
    block_time: Time
    burn_block_height: int
    confirmations: Depth | None

    model_config = example(
        {
            "id": "tr_01JD4NB2D5RM6X8V4T1Y7Z9Q3S",
            "object": "transfer",
            "tx_id": EXAMPLE_TX_ID,
            "event_index": 0,
            "status": "canonical",
            "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
            "intent": None,
            "unmatched": "no_intent",
            "assigned": False,
            "route": "token",
            "asset_identifier": EXAMPLE_SBTC,
            "sender": "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE",
            "recipient": EXAMPLE_ADDRESS,
            "amount": "50000",
            "memo": {"hex": "0x4f52444552", "text": "ORDER"},
            "terms_hash": None,
            "block_height": 5012344,
            "block_hash": EXAMPLE_BLOCK_HASH,
            "block_time": "2026-11-20T12:01:58.000Z",
            "burn_block_height": 925001,
            "confirmations": {"stacks": 3, "bitcoin": 0},
        }
    )


class TransferPage(Document):
    """A page of transfers, newest first; `next_cursor` is null on the last one."""

    data: list[Transfer]
    next_cursor: str | None


# Requests


class TransferFilters(OwnedPage):
    """Filters of the list of transfers."""

    unmatched: YesOrNoIn = False
    """Only transfers that match no intent; `unmatched` in each says why."""


class Assign(Request):
    """Assignment of a transfer to an intent."""

    intent: IdIn
    reason: TextIn

    model_config = example({"intent": "pi_01JD4N9Z7C3QK4V0T2S8X6R5WM", "reason": "the memo was mistyped"})
