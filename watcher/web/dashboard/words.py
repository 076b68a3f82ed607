"""What the words of documents mean, for people who own a shop: one table for each kind of word."""

from collections.abc import Mapping
from typing import Final

from watcher.domain.matching import Unmatched
from watcher.domain.model import Flag, Status

#: What became of a payment.
STATUSES: Final[Mapping[str, str]] = {
    Status.PENDING: "Waiting for the payment.",
    Status.PROCESSING: "The payment is in the chain and waits for its confirmations. Do not ship yet.",
    Status.SUCCEEDED: "Paid and confirmed.",
    Status.FAILED: "This payment failed.",
    Status.EXPIRED: "Not paid in time.",
    Status.CANCELED: "Canceled.",
}

#: What else there is to know of a payment.
FLAGS: Final[Mapping[str, str]] = {
    Flag.UNDERPAID: "Less came than was asked for.",
    Flag.OVERPAID: "More came than was asked for, in the payment itself.",
    Flag.LATE: "Money came after the deadline or after the cancellation.",
    Flag.SURPLUS: "More money came after it was paid.",
    Flag.REORGED: "The chain took back a payment that had counted as paid. It may come again by itself.",
    Flag.MANUAL: "A person decided on this, whatever the chain says.",
    Flag.LATE_EVIDENCE: "That it was paid in time became known only after it had ended.",
    Flag.REFUND_DUE: "It ended with money that does not pay it and did not go back.",
    Flag.PARTIALLY_REFUNDED: "A part of the money went back.",
    Flag.REFUNDED: "All of the money went back.",
    Flag.UNVERIFIED: "A second source does not show this payment yet, so it is not confirmed.",
}

#: Why money belongs to no payment, and what can be done.
UNMATCHED: Final[Mapping[str, tuple[str, str]]] = {
    Unmatched.NO_INTENT: (
        "It has no reference that we know.",
        "Find out who sent it and what for, then assign it to the payment, or send it back.",
    ),
    Unmatched.WRONG_ASSET: (
        "Its reference is known, but that payment is to be made in another asset.",
        "It cannot be assigned to that payment. Send it back, or agree on another payment.",
    ),
    Unmatched.WRONG_RECIPIENT: (
        "Its reference is known, but it went to another address than that payment asks for.",
        "If the address is yours, assign it to the payment; if not, the payer has to claim it there.",
    ),
    Unmatched.WRONG_PAYER: (
        "Its reference is known, but only another address may make that payment.",
        "If you accept it from this address, assign it to the payment; else send it back.",
    ),
    Unmatched.UNKNOWN_TERMS: (
        "It came through the payment contract, with terms that none of your payments has.",
        "Compare amount and sender with your orders, then assign it to the payment, or send it back.",
    ),
    Unmatched.BEFORE_INTENT: (
        "Its reference is known, but it came before that payment was made.",
        "If it was meant for this payment, assign it; it may also be for an older order of the same name.",
    ),
    Unmatched.TOO_LATE: (
        "Its reference is known, but it came long after that payment had ended.",
        "Assign it to the payment if you still deliver, or send it back.",
    ),
}

#: Why a transaction that tried to pay moved nothing.
ATTEMPTS: Final[Mapping[str, str]] = {
    "abort_by_response": "The contract refused it, for example because the payer had too little.",
    "abort_by_post_condition": "The wallet's own limit stopped it.",
    "problematic_skipped": "The network left it out.",
}

#: Which events were sent to the shop, in words.
EVENTS: Final[Mapping[str, str]] = {
    "payment.created": "created",
    "payment.processing": "seen in the chain",
    "payment.succeeded": "paid",
    "payment.failed": "failed",
    "payment.expired": "expired",
    "payment.canceled": "canceled",
    "payment.attention": "needs a person",
    "payment.refunded": "refunded",
}

#: What the wallet's part of a page says where it gives money back: the keys of ``languages/en/wallet.json``.
_REFUND_WALLET: Final[Mapping[str, str]] = {
    "wallet.pay": "Refund with {wallet}",
    "wallet.again": "Ask {wallet} once more",
    "wallet.asking": "Look at {wallet}: it shows the refund and asks you to confirm it.",
    "wallet.slow": "{wallet} has not answered yet. Look for its window or its icon in the browser.",
    "wallet.sent": "{wallet} says that the refund is sent. Do not send it twice: wait for the chain.",
    "wallet.refused": "{wallet} answers that you declined. If it shows the refund as sent, do not repeat it.",
    "wallet.network": "{wallet} has no account on the network of this payment, {network}.",
    "wallet.payer": "The contract takes a refund from {payer} only. Choose that account in {wallet}.",
    "wallet.ended": "This refund cannot be made by a wallet here. Send it by hand.",
    "wallet.unable": "{wallet} cannot make this transaction. Use another wallet, or send it by hand.",
    "wallet.failed": "{wallet} reports an error. If it shows the refund as sent, do not repeat it.",
    "wallet.server": "The server did not answer, so your wallet was not asked for money. Try again.",
}


def refund_wallet(key: str, **values: object) -> str:
    """Return what the wallet's part of a page says, with its values filled in."""
    return _REFUND_WALLET[key].format(**values)
