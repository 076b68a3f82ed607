"""The walk over an intent's transfers: which are on time, which cover it, which a reorg took (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from watcher.domain.model import Inclusion, Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The transfers up to the one that covers the amount, in walking order."""

    #: Those transfers and the rest of the covering transaction; money after them is surplus.
    keys: frozenset[tuple[str, int]]
    #: What they bring together, base units.
    total: int
    #: The least deep of the blocks the intent rests on, in Stacks and in Bitcoin blocks.
    height: int
    burn_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedPayment:
    """An orphaned inclusion that brought more than the canonical chain makes good of the same payment.

    One that was refuted is lost as well: a success may have been sent because of it.
    """

    inclusion: Inclusion
    #: It was on time, or as good as: mined again within the grace, the payment is on time too.
    timely: bool

    @property
    def tx_id(self) -> str:
        """The transaction that may still be mined again, or fail."""
        return self.inclusion.tx_id

    @property
    def at(self) -> int:
        """Chain time at which it was orphaned."""
        return orphaned_at(self.inclusion)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedTransfers:
    """The transfers of an intent, sorted by what they mean; those that moved nothing are left out."""

    #: In the canonical chain by the deadline, or as good as; in walking order.
    on_time: tuple[Inclusion, ...]
    #: In the canonical chain after the deadline; in walking order.
    late: tuple[Inclusion, ...]
    #: What reorgs took and the canonical chain does not make good, in the order of those reorgs. A payment that several
    #: branches included may be here several times, with different amounts.
    lost: tuple[OrphanedPayment, ...]

    @property
    def canonical(self) -> tuple[Inclusion, ...]:
        """All that is in the canonical chain, in walking order."""
        return in_order(self.on_time + self.late)


def in_order(inclusions: Iterable[Inclusion]) -> tuple[Inclusion, ...]:
    """Return the inclusions in chain order: block, transaction, event; those of one place in a fixed order."""
    return tuple(sorted(inclusions, key=_place))


def _place(inclusion: Inclusion) -> tuple[tuple[int, int, int], str, bool, int, int]:
    return (
        inclusion.position,
        inclusion.block_hash,
        inclusion.canonical,
        inclusion.orphaned_at or 0,
        inclusion.amount,
    )


def sort_transfers(intent: Intent, inclusions: Iterable[Inclusion]) -> SortedTransfers:
    """Sort the transfers of ``intent``.

    On time is a block time up to the deadline. A payment that was on time in a block which a reorg took stays so
    when it is mined again within the intent's ``reorg_grace``.
    """
    on_time: list[Inclusion] = []
    late: list[Inclusion] = []
    lost: list[OrphanedPayment] = []
    moved = sorted(
        (i for i in inclusions if i.amount), key=lambda inclusion: (inclusion.key, _history(inclusion))
    )
    for _, history in groupby(moved, key=lambda inclusion: inclusion.key):
        grace_until = -1
        taken: list[OrphanedPayment] = []
        #: What stands again of the payment, for what was on time and for what was late.
        again = {True: 0, False: 0}
        for inclusion in history:
            timely = inclusion.assigned or inclusion.time <= max(intent.deadline, grace_until)
            if inclusion.canonical:
                (on_time if timely else late).append(inclusion)
                # Mined again too late makes nothing good that was on time: whether another block was seen in between
                # must not matter.
                again = {True: inclusion.amount if timely else 0, False: inclusion.amount}
            else:
                taken.append(OrphanedPayment(inclusion=inclusion, timely=timely))
                if timely and not inclusion.refuted:  # what was never there gives nothing time
                    grace_until = orphaned_at(inclusion) + intent.reorg_grace
        lost += [orphaned for orphaned in taken if orphaned.inclusion.amount > again[orphaned.timely]]
    return SortedTransfers(
        on_time=in_order(on_time),
        late=in_order(late),
        lost=tuple(sorted(lost, key=lambda orphaned: (orphaned.at, orphaned.inclusion.position))),
    )


def find_coverage(intent: Intent, inclusions: Iterable[Inclusion]) -> Coverage | None:
    """Walk the inclusions, given in walking order, until they reach amount − tolerance; None when they do not."""
    walked: list[Inclusion] = []
    total = 0
    reached: Inclusion | None = None
    for inclusion in inclusions:
        if reached is not None and inclusion.tx_id != reached.tx_id:
            break
        walked.append(inclusion)
        total += inclusion.amount
        if reached is None and total >= intent.amount - intent.tolerance:
            reached = inclusion
    if reached is None:
        return None
    return Coverage(
        keys=frozenset(inclusion.key for inclusion in walked),
        total=total,
        height=max(inclusion.height for inclusion in walked),
        burn_height=max(inclusion.burn_height for inclusion in walked),
    )


def orphaned_at(inclusion: Inclusion) -> int:
    """Return the chain time at which an orphaned inclusion was orphaned."""
    assert inclusion.orphaned_at is not None, "an orphaned inclusion carries the time of its reorg"
    return inclusion.orphaned_at


def _history(inclusion: Inclusion) -> tuple[bool, int, int, str]:
    """Order the inclusions of one payment: as the reorgs took them, the standing one last."""
    return (inclusion.canonical, inclusion.orphaned_at or 0, inclusion.height, inclusion.block_hash)
