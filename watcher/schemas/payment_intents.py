"""Payment intents: as the server answers with them, and what callers send."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from watcher.domain.model import Flag, LatePolicy, Match, Status
from watcher.durations import parse_duration
from watcher.schemas.base import (
    EXAMPLE_ADDRESS,
    EXAMPLE_BLOCK_HASH,
    EXAMPLE_SBTC,
    EXAMPLE_TX_ID,
    Amount,
    Depth,
    Document,
    Hex,
    Metadata,
    OwnedPage,
    Request,
    Time,
    example,
)
from watcher.schemas.fields import (
    AmountIn,
    AmountOrZeroIn,
    IdIn,
    LevelIn,
    LifetimeIn,
    MetadataIn,
    PrincipalIn,
    ReferenceIn,
    SaltIn,
    TextIn,
    TimeIn,
    YesOrNoIn,
)


class Confirmations(Document):
    """How deep the money must be, and is."""

    level: Literal["included", "anchored", "settled"] | None
    """Null for a depth of the merchant's own."""
    required: Depth
    reached: Depth | None
    """Null while the amount is not covered."""


class AsOf(Document):
    """The newest applied block: the clock that judges money."""

    height: int
    time: Time


class IntentTransfer(Document):
    """Money that counts for an intent."""

    tx_id: Hex
    event_index: int
    status: Literal["canonical", "orphaned"]
    sender: str | None
    """Null for a peg-in's mint."""
    amount: Amount
    block_height: int
    block_hash: Hex
    """The index block hash."""
    block_time: Time
    burn_block_height: int
    confirmations: Depth | None
    """Null when orphaned."""


class Refund(Document):
    """Money that went back."""

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
    """A mined transaction that tried to pay and did not."""

    tx_id: Hex
    sender: str
    reason: str
    """`abort_by_response`, `abort_by_post_condition`, `problematic_skipped`, …"""
    block_height: int


class Argument(Document):
    """One argument of the contract call; `hex` is its consensus serialisation."""

    name: str
    type: str
    value: Any
    hex: Hex


class ContractCall(Document):
    """How to pay through the payment contract."""

    contract_id: str
    function: str
    arguments: list[Argument]
    post_condition_mode: Literal["deny", "allow"]
    post_conditions: list[dict[str, Any]]


class Pay(Document):
    """How to pay: a transfer with this memo, or the contract call."""

    memo: str
    contract: ContractCall | None


class TimelineEntry(Document):
    """A change of the status."""

    at: Time
    status: Status
    reason: str | None


class PaymentIntent(Document):
    """What is owed, and what became of it."""

    id: str
    object: Literal["payment_intent"]
    merchant: str
    status: Status
    flags: list[Flag]
    """What else a person should know. `refund_due`: it ended with money that neither pays it nor went back."""
    in_flight: bool
    """A payment is in the mempool. For display only."""
    amount: Amount
    asset: str
    asset_identifier: str
    recipient: str
    payer: str | None
    reference: str
    terms_hash: Hex
    match: Match
    tolerance: Amount
    amount_received: Amount
    amount_missing: Amount
    amount_over: Amount
    amount_refunded: Amount = 0
    confirmations: Confirmations
    expires_at: Time
    deadline: Time
    """`expires_at` and the grace for the last payment to be mined."""
    late_policy: LatePolicy
    as_of: AsOf
    created_at: Time
    updated_at: Time
    succeeded_at: Time | None
    metadata: Metadata
    transfers: list[IntentTransfer]
    """Of very many those that matter most."""
    transfers_total: int
    attempts: list[Attempt]
    attempts_total: int
    refunds: list[Refund] = Field(default_factory=list)
    refunds_total: int = 0
    pay: Pay
    timeline: list[TimelineEntry]
    """Of a very long one the first entry and the newest."""
    timeline_total: int = 0

    model_config = example(
        {
            "id": "pi_01JD4N9Z7C3QK4V0T2S8X6R5WM",
            "object": "payment_intent",
            "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
            "status": "succeeded",
            "flags": [],
            "in_flight": False,
            "amount": "50000",
            "asset": "sbtc",
            "asset_identifier": EXAMPLE_SBTC,
            "recipient": EXAMPLE_ADDRESS,
            "payer": None,
            "reference": "K7Q2M8ZR4T9C",
            "terms_hash": EXAMPLE_BLOCK_HASH,
            "match": "reference",
            "tolerance": "0",
            "amount_received": "50000",
            "amount_missing": "0",
            "amount_over": "0",
            "amount_refunded": "0",
            "confirmations": {
                "level": "included",
                "required": {"stacks": 1, "bitcoin": 0},
                "reached": {"stacks": 3, "bitcoin": 0},
            },
            "expires_at": "2026-11-20T13:00:00.000Z",
            "deadline": "2026-11-20T13:10:00.000Z",
            "late_policy": "hold",
            "as_of": {"height": 5012346, "time": "2026-11-20T12:03:00.000Z"},
            "created_at": "2026-11-20T12:00:00.000Z",
            "updated_at": "2026-11-20T12:02:00.000Z",
            "succeeded_at": "2026-11-20T12:02:00.000Z",
            "metadata": {"order_id": "12345"},
            "transfers": [
                {
                    "tx_id": EXAMPLE_TX_ID,
                    "event_index": 0,
                    "status": "canonical",
                    "sender": "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE",
                    "amount": "50000",
                    "block_height": 5012344,
                    "block_hash": EXAMPLE_BLOCK_HASH,
                    "block_time": "2026-11-20T12:01:58.000Z",
                    "burn_block_height": 925001,
                    "confirmations": {"stacks": 3, "bitcoin": 0},
                }
            ],
            "transfers_total": 1,
            "attempts": [],
            "attempts_total": 0,
            "refunds": [],
            "refunds_total": 0,
            "pay": {"memo": "K7Q2M8ZR4T9C", "contract": None},
            "timeline": [
                {"at": "2026-11-20T12:00:00.000Z", "status": "pending", "reason": "created"},
                {"at": "2026-11-20T12:02:00.000Z", "status": "succeeded", "reason": None},
            ],
            "timeline_total": 2,
        }
    )


class PaymentIntentPage(Document):
    """A page of intents, newest first; `next_cursor` is null on the last one."""

    data: list[PaymentIntent]
    next_cursor: str | None


class PaymentIntentList(Document):
    """Intents in the order in which they were asked for."""

    data: list[PaymentIntent]


# What callers send

#: How long an answer can be held back, seconds.
MAX_WAIT = 60.0


def _check_reference(text: str) -> str:
    if not 0 < len(text) <= 100:
        raise ValueError("must be 1 to 100 characters")
    return text


def _check_gathered(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("is written metadata[key]=value")
    return value


class PaymentIntentFilters(OwnedPage):
    """Which intents are listed."""

    status: Status | None = None
    """Only intents with this status."""
    flag: Flag | None = None
    """Only intents with this flag."""
    attention: YesOrNoIn = False
    """Only intents that call for a person, as `attention` in the status counts them."""
    reference: Annotated[str, AfterValidator(_check_reference)] | None = None
    """Only the intent with this reference, compared as payers write it."""
    created_from: TimeIn | None = None
    """Only intents created at this time or later (RFC 3339 or unix seconds)."""
    created_to: TimeIn | None = None
    """Only intents created before this time (RFC 3339 or unix seconds)."""
    metadata: Annotated[MetadataIn, BeforeValidator(_check_gathered)] | None = None
    """Only intents with exactly this text under this key: `metadata[order_id]=12345`; several must all hold."""

    @model_validator(mode="before")
    @classmethod
    def _gather_metadata(cls, given: Any) -> Any:
        """Gather ``metadata[key]=text``, as a URL has it."""
        if not isinstance(given, Mapping):
            return given
        inner = {name[9:-1]: text for name, text in given.items() if _is_metadata(name)}
        return {n: v for n, v in given.items() if not _is_metadata(n)} | (
            {"metadata": inner} if inner else {}
        )


def _is_metadata(name: str) -> bool:
    return name.startswith("metadata[") and name.endswith("]")


def _read_wait(value: object) -> float:
    seconds = parse_duration(value)
    if seconds > MAX_WAIT:
        raise ValueError(f"{value!r} is longer than {MAX_WAIT:.0f}s")
    return seconds


class WaitForStatus(Request):
    """How long an answer is held back until an intent's status changes."""

    member: ClassVar[str] = "parameter"

    wait: Annotated[float, BeforeValidator(_read_wait), WithJsonSchema({"type": "string"})] | None = None
    """Answer when the status changes, or after this time at the latest: `30s`, at most `60s`. Without `seen` only a
    `pending` or `processing` intent is waited for."""
    seen: Status | None = None
    """With `wait`: the status that you know. The answer comes at once when it is another."""


class NewPaymentIntent(Request):
    """What is owed. Only `amount` is needed; the rest is as the merchant's and the server's settings say."""

    amount: AmountIn
    """Base units (sats, micro-STX): digits as text, or a whole number. Never a fraction."""
    asset: str | None = None
    """`sbtc` (default), `stx`, or one that the server is set up for."""
    recipient: PrincipalIn | None = None
    """Who is paid; by default the merchant's own."""
    reference: ReferenceIn | None = None
    """Your own reference, 1 to 34 printable ASCII characters; by default 12 characters are made."""
    expires_in: LifetimeIn | None = None
    """How long it can be paid: `30m`, or seconds; 1 s to 366 days, from the later of the server's and the chain's clock."""
    expires_at: TimeIn | None = None
    """Or until when: ahead of both clocks. Fractions of a second are cut."""
    level: LevelIn | None = None
    """`included`, `anchored`, `settled`, or {stacks, bitcoin}."""
    payer: PrincipalIn | None = None
    """Only this sender's money counts."""
    match: Match | None = None
    """`recipient`: the recipient is this intent's alone, and no memo is needed."""
    tolerance: AmountOrZeroIn | None = None
    """Base units by which the payment may fall short."""
    late_policy: LatePolicy | None = None
    not_before: TimeIn | None = None
    """Older money is not for this intent; by default 24 hours before the creation."""
    salt: SaltIn | None = None
    """16 bytes as hex; by default random."""
    metadata: MetadataIn | None = None
    """Your own notes: up to 50 keys of 40 characters, texts of 500."""
    merchant: IdIn | None = None
    """Whose, for an operator; a merchant leaves it out."""

    model_config = example(
        {
            "amount": "50000",
            "asset": "sbtc",
            "reference": "ORDER-12345",
            "expires_in": "30m",
            "metadata": {"order_id": "12345"},
        }
    )


#: Intents that are created in one transaction, at most: it holds the write lock for about 200 ms then.
MAX_BULK = 500


def _check_number(intents: list[NewPaymentIntent]) -> list[NewPaymentIntent]:
    if not 0 < len(intents) <= MAX_BULK:
        raise ValueError(f"holds {len(intents)} intents; send 1 to {MAX_BULK}")
    return intents


class NewPaymentIntents(Request):
    """Up to 500 intents, all or none."""

    intents: Annotated[list[NewPaymentIntent], AfterValidator(_check_number)]
    merchant: IdIn | None = None
    """Whose, for an operator; a merchant leaves it out."""


class Cancel(Request):
    """Why it is canceled."""

    reason: TextIn | None = None

    model_config = example({"reason": "the customer changed his mind"})


class Mark(Request):
    """What a person knows better."""

    status: Literal["succeeded", "failed"]
    reason: TextIn

    model_config = example({"status": "succeeded", "reason": "paid in cash"})


class Dismiss(Request):
    """Why nothing has to be given back any more."""

    reason: TextIn

    model_config = example({"reason": "sent back by hand"})
