"""What a block means for a merchant: payments (money that moved), attempts (money that did not), refunds (back again)."""

from dataclasses import dataclass
from enum import StrEnum

from chain.model import BlockHeader


class Route(StrEnum):
    """How the money came."""

    #: A plain transfer of a token or of STX, labelled by its memo, if at all.
    TRANSFER = "transfer"
    #: A transfer that the payment contract labelled with its terms hash.
    CONTRACT = "contract"
    #: An sBTC peg-in minted straight to the recipient: no sender, no memo.
    PEG_IN = "peg_in"
    #: A transfer that the payment contract labelled as money given back: it pays for nothing.
    REFUND = "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One asset movement that may settle an intent. Identity on the chain: (tx_id, rank); on all forks also the block."""

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
    #: Raw memo bytes as found (never trimmed), None without one, and for a refund, whose memo labels no payment.
    memo: bytes | None
    #: 32 bytes from our payment contract's own print; None on every other route.
    terms_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money that a merchant gave back through the payment contract: its print, and the transfer that the print labels."""

    block: BlockHeader
    tx_id: str
    tx_index: int
    #: Rank of the transfer event within its transaction.
    rank: int
    #: Full asset identifier, or ``STX``.
    asset: str
    #: The merchant of the payment.
    sender: str
    #: Who had paid.
    recipient: str
    #: Base units, 0 … 2^128−1.
    amount: int
    #: 32 bytes: the payment that it gives back, whole or in part.
    terms_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A mined call that meant to pay and did not succeed, read from its arguments. Proves nothing, explains much."""

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
    """Everything some blocks say, in chain order (block, tx_index, rank)."""

    payments: tuple[Payment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()
    #: What transactions with an unknown status bring if they succeeded, and meant to bring if not: it is neither.
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
    #: Contract id of the network's ``send-many-memo``: what it prints directly after a transfer of STX is its memo.
    memo_router: str | None = None
    #: Principals whose transfers never count (staking rewards).
    ignored_senders: frozenset[str] = frozenset()
