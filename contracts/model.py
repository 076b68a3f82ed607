"""Payments, failed attempts to pay, and refunds, as read from blocks; and the rules for reading them."""

from dataclasses import dataclass
from enum import StrEnum

from chain.model import BlockHeader


class Route(StrEnum):
    """The way a payment was made."""

    #: A plain transfer of a token or of STX, labelled by its memo, if it has one.
    TRANSFER = "transfer"
    #: A transfer that the payment contract labelled with its terms hash.
    CONTRACT = "contract"
    #: An sBTC peg-in minted straight to the recipient: no sender, no memo.
    PEG_IN = "peg_in"
    #: A transfer that the payment contract labelled as a refund: it pays for nothing.
    REFUND = "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One asset transfer that may settle an intent. Unique by (tx_id, rank), across forks with the block."""

    block: BlockHeader
    tx_id: str
    tx_index: int
    #: Rank of the transfer event within its transaction.
    rank: int
    #: Full asset identifier, or ``STX``.
    asset: str
    #: None for a peg-in.
    sender: str | None
    recipient: str
    #: Base units, 0 … 2^128−1.
    amount: int
    route: Route
    #: Raw memo bytes as found (never trimmed); None without one, and for a refund, whose memo labels no
    #: payment.
    memo: bytes | None
    #: 32 bytes from our payment contract's own print; None on every other route.
    terms_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A merchant's refund through the payment contract: its print, and the transfer that the print labels."""

    block: BlockHeader
    tx_id: str
    tx_index: int
    #: Rank of the transfer event within its transaction.
    rank: int
    #: Full asset identifier, or ``STX``.
    asset: str
    #: The merchant of the payment.
    sender: str
    #: The payer.
    recipient: str
    #: Base units, 0 … 2^128−1.
    amount: int
    #: 32 bytes: terms hash of the payment that is refunded, fully or partly.
    terms_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A failed call that intended a payment, as read from its arguments. It proves nothing."""

    block: BlockHeader
    tx_id: str
    tx_index: int
    #: The transaction's sender: anyone can copy a label out of the mempool.
    sender: str
    #: ``abort_by_response``, ``abort_by_post_condition`` or ``problematic_skipped``.
    reason: str
    asset: str
    recipient: str
    amount: int
    memo: bytes | None
    terms_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The payments, attempts and refunds of blocks, in chain order (block, tx_index, rank)."""

    payments: tuple[Payment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()
    #: Payments and attempts of transactions with an unknown status; they count neither as paid nor as failed.
    unknown_status: tuple[Payment | Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRules:
    """The assets, contracts and senders that decide what counts as a payment, from the settings."""

    #: Asset identifiers in use, ``STX`` among them.
    assets: frozenset[str]
    #: Contract id of the sBTC token; its registry is ``<same principal>.sbtc-registry``.
    sbtc_contract: str
    #: Contract id of the deployed payment contract, None when none is used.
    payment_contract: str | None = None
    #: Contract id of the network's ``send-many-memo``: its print directly after an STX transfer is the memo.
    memo_router: str | None = None
    #: Principals whose transfers never count (staking rewards).
    ignored_senders: frozenset[str] = frozenset()
