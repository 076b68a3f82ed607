"""What refunds through the payment contract say of an intent (pure). They never change its status.

A refund counts while it is in the canonical chain, and is sent when it is as deep as the intent asks of its money.
"""

from collections import Counter
from collections.abc import Iterable

from watcher.domain.model import Flag, Inclusion, OperatorAction, Repayment

#: After everything that stands at a height in the chain.
_END_OF_BLOCK = (2**63, 2**63)


def canonical(refunds: Iterable[Repayment]) -> tuple[Repayment, ...]:
    """Return the refunds that are in the canonical chain, in its order."""
    return tuple(sorted((r for r in refunds if r.canonical), key=lambda refund: refund.position))


def total(refunds: Iterable[Repayment]) -> int:
    """Return how much was given back in the canonical chain, base units; may exceed 128 bits."""
    return sum(refund.amount for refund in canonical(refunds))


def flags(refunded: int, received: int) -> frozenset[Flag]:
    """Return what a person should know, given what was given back and what came."""
    if not refunded:
        return frozenset()
    return frozenset({Flag.REFUNDED if refunded >= received else Flag.PARTIALLY_REFUNDED})


def due(
    money: Iterable[Inclusion], refunds: Iterable[Repayment], dismissals: Iterable[OperatorAction]
) -> int:
    """Return how much of the money that pays for nothing is still to be given back, base units.

    In chain order: a refund or a dismissal takes off what had come before it, so that neither makes up for money that
    comes later, nor for older money that is found later.
    """
    steps = [(inclusion.position, inclusion.amount) for inclusion in money]
    steps += [(refund.position, -refund.amount) for refund in canonical(refunds)]
    steps += [((action.height, *_END_OF_BLOCK), -action.amount) for action in dismissals]
    outstanding = 0
    for _, amount in sorted(steps):
        outstanding = max(0, outstanding + amount)
    return outstanding


def subjects(canonical: Iterable[Repayment]) -> dict[str, Repayment]:
    """Return refunds by (transaction, amount, ordinal), which a sent event names.

    It is the same on every branch, unless another amount moves there: a contract that gives back for the merchant may
    do other things before it on one branch, so that the same refund has another rank.
    """
    found: dict[str, Repayment] = {}
    alike: Counter[tuple[str, int]] = Counter()
    for refund in canonical:
        what = (refund.tx_id, refund.amount)
        found[f"{refund.tx_id}#{alike[what]}={refund.amount}"] = refund
        alike[what] += 1
    return found


def notes(refunds: Iterable[Repayment], timeline: Iterable[str | None]) -> list[str]:
    """Return what an intent's timeline has to say yet: refunds that stand, then those that a reorg took back.

    ``timeline`` are the reasons that it has. Facts are never deleted, so that whatever it once said can be taken back.
    """
    said = Counter(timeline)
    known: Counter[tuple[str, int]] = Counter()
    for refund in sorted(refunds, key=lambda refund: refund.position):
        known[(refund.tx_id, refund.amount)] += refund.canonical
    made, undone = [], []
    for (tx_id, amount), count in known.items():
        made_text = f"refunded {amount} by {tx_id}"
        undone_text = f"refund of {amount} by {tx_id} undone by a reorg"
        lacking = count - (said[made_text] - said[undone_text])
        made += [made_text] * lacking
        undone += [undone_text] * -lacking
    return undone + made
