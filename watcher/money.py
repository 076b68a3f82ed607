"""The walk over an intent's transfers: which are on time, which cover it, which a reorg took (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from watcher.intents import Inclusion, Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The transfers up to the one that reaches what is owed, in walking order."""

    #: Those transfers and the rest of the covering transaction; money after them is surplus.
    keys: frozenset[tuple[str, int]]
    #: What they bring together, base units.
    total: int
    #: The least deep of the blocks the intent rests on, in Stacks and in Bitcoin blocks.
    height: int
    burn_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The transfers of an intent, sorted by what they mean; those that moved nothing are left out."""

    #: In the canonical chain by the deadline, or as good as; in walking order.
    on_time: tuple[Inclusion, ...]
    #: In the canonical chain after the deadline; in walking order.
    late: tuple[Inclusion, ...]
    #: On-time payments that a reorg took and that no on-time canonical inclusion makes good, as last seen.
    lost: tuple[Inclusion, ...]
    #: Payments that were always late, that a reorg took and that no canonical inclusion makes good.
    lost_late: tuple[Inclusion, ...]

    @property
    def canonical(self) -> tuple[Inclusion, ...]:
        """All that is in the canonical chain, in walking order."""
        return in_order(self.on_time + self.late)


def in_order(inclusions: Iterable[Inclusion]) -> tuple[Inclusion, ...]:
    """Return the inclusions in chain order: block, transaction, event."""
    return tuple(sorted(inclusions, key=lambda inclusion: inclusion.position))


def sort_money(intent: Intent, inclusions: Iterable[Inclusion]) -> Money:
    """Sort the transfers of ``intent``.

    On time is a block time up to the deadline. A payment that was on time in a block which a reorg took stays so
    when it is mined again within the intent's ``reorg_grace``.
    """
    on_time: list[Inclusion] = []
    late: list[Inclusion] = []
    lost: list[Inclusion] = []
    lost_late: list[Inclusion] = []
    moved = sorted(
        (i for i in inclusions if i.amount), key=lambda inclusion: (inclusion.key, _history(inclusion))
    )
    for _, history in groupby(moved, key=lambda inclusion: inclusion.key):
        grace_until = -1
        newest_lost: Inclusion | None = None
        timely = False
        standing: Inclusion | None = None
        for inclusion in history:
            timely = inclusion.assigned or inclusion.time <= max(intent.deadline, grace_until)
            if inclusion.canonical:
                standing = inclusion
                (on_time if timely else late).append(inclusion)
            else:
                newest_lost = inclusion
                if timely:
                    grace_until = orphaned_at(inclusion) + intent.reorg_grace
        # Mined again too late makes nothing good that was on time: whether another block was seen in between
        # must not matter.
        again = standing.amount if standing is not None and (timely or grace_until < 0) else 0
        if newest_lost is not None and again < newest_lost.amount:
            (lost if grace_until >= 0 else lost_late).append(newest_lost)
    return Money(
        on_time=in_order(on_time), late=in_order(late), lost=in_order(lost), lost_late=in_order(lost_late)
    )


def cover(intent: Intent, inclusions: Iterable[Inclusion]) -> Cover | None:
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
    return Cover(
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
