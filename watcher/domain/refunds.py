"""Refunds through the payment contract, as they affect an intent (pure). They never change its status.

A refund counts while it is canonical, and is sent at the depth that the intent requires of payments.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from watcher.domain.model import Flag, Inclusion, OperatorAction, Repayment

#: Sorts after every position at a height.
_END_OF_BLOCK = (2**63, 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note of a refund for the timeline."""

    #: Stable, and stored: what is noted already is known by it, whatever the sentence was.
    subject: str
    #: The sentence, for people.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """Money that is to be given back to one sender."""

    #: None for the mint of a peg-in, of which the chain does not show the sender.
    to: str | None
    #: Base units.
    amount: int


def canonical(refunds: Iterable[Repayment]) -> tuple[Repayment, ...]:
    """Return the canonical refunds, in chain order."""
    return tuple(sorted((r for r in refunds if r.canonical), key=lambda refund: refund.position))


def total(refunds: Iterable[Repayment]) -> int:
    """Return the sum of the canonical refunds, base units; may exceed 128 bits."""
    return sum(refund.amount for refund in canonical(refunds))


def flags(refunded: int, received: int) -> frozenset[Flag]:
    """Return the flags for an amount refunded out of an amount received."""
    if not refunded:
        return frozenset()
    return frozenset({Flag.REFUNDED if refunded >= received else Flag.PARTIALLY_REFUNDED})


def due(
    money: Iterable[Inclusion], refunds: Iterable[Repayment], dismissals: Iterable[OperatorAction]
) -> int:
    """Return how much of the money that pays for nothing is still to be refunded, base units.

    In chain order: a refund or a dismissal offsets only what came before it, neither money that comes later
    nor older money that is found later.
    """
    steps = [(inclusion.position, inclusion.amount) for inclusion in money]
    steps += [(refund.position, -refund.amount) for refund in canonical(refunds)]
    steps += [((action.height, *_END_OF_BLOCK), -action.amount) for action in dismissals]
    outstanding = 0
    for _, amount in sorted(steps):
        outstanding = max(0, outstanding + amount)
    return outstanding


def owed(money: Iterable[Inclusion], refunds: Iterable[Repayment], outstanding: int) -> tuple[Debt, ...]:
    """Return whom the outstanding money came from, newest money first: what each sent less what went back to
    them, altogether no more than is outstanding.
    """
    sent: dict[str | None, int] = {}
    for inclusion in sorted(money, key=lambda inclusion: inclusion.position, reverse=True):
        sent[inclusion.sender] = sent.get(inclusion.sender, 0) + inclusion.amount
    for refund in canonical(refunds):
        if refund.recipient in sent:
            sent[refund.recipient] -= refund.amount
    debts = []
    for sender, amount in sent.items():
        share = min(max(0, amount), outstanding)
        if share:
            debts.append(Debt(to=sender, amount=share))
        outstanding -= share
    return tuple(debts)


def subjects(canonical: Iterable[Repayment]) -> dict[str, Repayment]:
    """Return refunds by (transaction, amount, ordinal), which a sent event names.

    That key is the same on every branch, unless another amount moves there. The rank is not: a contract that
    refunds for the merchant may do other things before it on one branch.
    """
    found: dict[str, Repayment] = {}
    alike: Counter[tuple[str, int]] = Counter()
    for refund in canonical:
        what = (refund.tx_id, refund.amount)
        found[f"{refund.tx_id}#{alike[what]}={refund.amount}"] = refund
        alike[what] += 1
    return found


def notes(refunds: Iterable[Repayment], noted: Iterable[str | None]) -> list[Note]:
    """Return the missing notes: of refunds undone by a reorg, then of refunds made.

    ``noted`` holds the subjects of the timeline's entries so far. Facts are never deleted, so whatever was
    noted can be undone.
    """
    present = Counter(noted)
    known: Counter[tuple[str, int]] = Counter()
    for refund in sorted(refunds, key=lambda refund: refund.position):
        known[(refund.tx_id, refund.amount)] += refund.canonical
    made, undone = [], []
    for (tx_id, amount), count in known.items():
        of_made = Note(subject=f"refund:{tx_id}={amount}", text=f"refunded {amount} by {tx_id}")
        of_undone = Note(
            subject=f"refund_undone:{tx_id}={amount}",
            text=f"refund of {amount} by {tx_id} undone by a reorg",
        )
        lacking = count - (present[of_made.subject] - present[of_undone.subject])
        made += [of_made] * lacking
        undone += [of_undone] * -lacking
    return undone + made
