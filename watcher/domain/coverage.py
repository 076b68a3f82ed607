"""Walk over an intent's transfers: which are on time, which cover the amount, which are orphaned (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from watcher.domain.model import Inclusion, Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The transfers up to the one that covers the amount, in chain order."""

    #: Those transfers and the rest of the covering transaction; money after them is surplus.
    keys: frozenset[tuple[str, int]]
    #: Their sum, base units.
    total: int
    #: Greatest Stacks and Bitcoin heights of their blocks, from which the depth is counted.
    height: int
    burn_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """The covering transfers that no second source has shown yet, of an intent that needs one."""

    keys: frozenset[tuple[str, int]]
    #: Those of them that have not waited before.
    fresh: frozenset[tuple[str, int]]
    #: Chain time at which the wait began.
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedPayment:
    """An orphaned inclusion whose amount the canonical chain does not fully include again.

    A refuted one counts too: a success may have been sent because of it.
    """

    inclusion: Inclusion
    #: On time, or treated as such: mined again within the grace period, the payment stays on time.
    timely: bool

    @property
    def tx_id(self) -> str:
        """The transaction that may be mined again, or fail."""
        return self.inclusion.tx_id

    @property
    def at(self) -> int:
        """Chain time at which it was orphaned."""
        return orphaned_at(self.inclusion)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedTransfers:
    """The transfers of an intent by what they mean; transfers of amount 0 are left out."""

    #: Canonical by the deadline, or treated as on time; in chain order.
    on_time: tuple[Inclusion, ...]
    #: Canonical after the deadline; in chain order.
    late: tuple[Inclusion, ...]
    #: Orphaned and not made good by the canonical chain, in the order of the reorgs. A payment that several
    #: branches included may appear several times, with different amounts.
    lost: tuple[OrphanedPayment, ...]

    @property
    def canonical(self) -> tuple[Inclusion, ...]:
        """All canonical transfers, in chain order."""
        return in_order(self.on_time + self.late)


def in_order(inclusions: Iterable[Inclusion]) -> tuple[Inclusion, ...]:
    """Return the inclusions in chain order (block, transaction, event); ties are broken in a fixed order."""
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

    On time means a block time up to the deadline. A payment that was on time in a block that was orphaned
    stays on time when it is mined again within the intent's ``reorg_grace``.
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
        #: Amount of the payment that is canonical again, for on-time and for late orphaned inclusions.
        again = {True: 0, False: 0}
        for inclusion in history:
            timely = inclusion.assigned or inclusion.time <= max(intent.deadline, grace_until)
            if inclusion.canonical:
                (on_time if timely else late).append(inclusion)
                # A late inclusion does not make good one that was on time: the result must not depend on
                # whether an intermediate block was seen.
                again = {True: inclusion.amount if timely else 0, False: inclusion.amount}
            else:
                taken.append(OrphanedPayment(inclusion=inclusion, timely=timely))
                if timely and not inclusion.refuted:  # a refuted inclusion grants no grace
                    grace_until = orphaned_at(inclusion) + intent.reorg_grace
        lost += [orphaned for orphaned in taken if orphaned.inclusion.amount > again[orphaned.timely]]
    return SortedTransfers(
        on_time=in_order(on_time),
        late=in_order(late),
        lost=tuple(sorted(lost, key=lambda orphaned: (orphaned.at, orphaned.inclusion.position))),
    )


def find_coverage(intent: Intent, inclusions: Iterable[Inclusion]) -> Coverage | None:
    """Walk the inclusions, given in chain order, until they reach amount − tolerance; None if they do not."""
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
    """Return the sort key for inclusions of one payment: by reorg, the canonical one last."""
    return (inclusion.canonical, inclusion.orphaned_at or 0, inclusion.height, inclusion.block_hash)


def find_unverified(
    intent: Intent, cover: Coverage | None, canonical: Iterable[Inclusion], *, now: int
) -> Unverified:
    """Return which transfers of the cover wait for a second source at chain time ``now``."""
    keys = cover.keys if cover is not None and intent.two_sources else frozenset()
    covering = [i for i in canonical if i.key in keys]
    waiting = [i for i in covering if not i.verified_by]
    return Unverified(
        keys=frozenset(i.key for i in waiting),
        fresh=frozenset(i.key for i in waiting if i.unverified_since is None),
        since=min((i.unverified_since for i in covering if i.unverified_since is not None), default=now),
    )
