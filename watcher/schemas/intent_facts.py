"""What a payment intent shows beside its own fields: facts, depth, timeline, and how to pay it."""

from typing import Any, Literal

from pydantic import Field

from watcher.domain.model import Status
from watcher.schemas.base import (
    Amount,
    Depth,
    Document,
    Hex,
    Time,
)


class Confirmations(Document):
    """Confirmations that the intent requires, and has."""

    level: Literal["included", "anchored", "settled"] | None
    """Null for a depth that the merchant set."""
    required: Depth
    reached: Depth | None
    """Null while the amount is not fully paid."""


class AsOf(Document):
    """The newest applied block, whose time decides what is late."""

    height: int
    time: Time


class Fiat(Document):
    """A price in money of a state."""

    amount: str
    currency: str
    """Three letters, ISO 4217."""


class IntentTransfer(Document):
    """A transfer that counts for an intent."""

    tx_id: Hex
    event_index: int
    status: Literal["canonical", "orphaned"]
    sender: str | None
    """Null for the mint of a peg-in."""
    amount: Amount
    assigned: bool = False
    """An operator assigned it to the intent: its label proves nothing."""
    verified_by: list[str] = Field(default_factory=list)
    """The hosts of the sources that agreed on it, if the intent needed more than one source's word."""
    block_height: int
    block_hash: Hex
    """The index block hash."""
    block_time: Time
    burn_block_height: int
    confirmations: Depth | None
    """Null when orphaned."""


class Refund(Document):
    """A refund to the payer."""

    tx_id: Hex
    event_index: int
    status: Literal["canonical", "orphaned"]
    sender: str | None
    recipient: str
    amount: Amount
    block_height: int
    block_hash: Hex
    block_time: Time
    burn_block_height: int
    confirmations: Depth | None


class Attempt(Document):
    """A mined transaction that tried to pay and failed."""

    tx_id: Hex
    sender: str
    reason: str
    """`abort_by_response`, `abort_by_post_condition`, `problematic_skipped`, …"""
    block_height: int


class Argument(Document):
    """An argument of a contract call; `hex` is its consensus serialisation."""

    name: str
    type: str
    value: Any
    hex: Hex | None
    """Null for what only the wallet knows: the address of a `sender`, the payer."""


class ContractCall(Document):
    """A contract call for a wallet."""

    contract_id: str
    function: str
    arguments: list[Argument]
    post_condition_mode: Literal["deny", "allow"]
    post_conditions: list[dict[str, Any]]
    """In the form of `@stacks/transactions`; `hex` is the consensus serialisation of each."""


class StxTransfer(Document):
    """The parameters of a wallet's STX transfer."""

    recipient: str
    amount: Amount
    memo: str | None


class Pay(Document):
    """Ways to pay: a transfer with this memo, or the contract call."""

    memo: str
    transfer: ContractCall | StxTransfer | None = None
    """A plain transfer of what is missing, ready for a wallet; null when nothing is."""
    contract: ContractCall | None
    """The call of the payment contract, which pays the whole amount; null without such a contract."""


class TimelineEntry(Document):
    """A change of the status."""

    at: Time
    status: Status
    reason: str | None
