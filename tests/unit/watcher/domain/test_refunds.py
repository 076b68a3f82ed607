"""The sum of refunds, what is due, and what a timeline shows of them."""

from dataclasses import replace

import pytest

from watcher.domain import refunds
from watcher.domain.model import Flag, Inclusion, Repayment


def repaid(tx: str = "0xa", rank: int = 1, *, amount: int = 500, height: int = 10, canonical: bool = True):
    return Repayment(
        tx_id=tx,
        rank=rank,
        tx_index=0,
        block_hash=f"0x{height}",
        height=height,
        time=0,
        burn_height=1,
        sender="SPSHOP",
        recipient="SPPAYER",
        amount=amount,
        canonical=canonical,
    )


def test_only_the_canonical_chain_counts():
    some = [repaid("0xb", height=12), repaid("0xa", height=11), repaid("0xc", canonical=False)]
    assert [refund.tx_id for refund in refunds.canonical(some)] == ["0xa", "0xb"]
    assert refunds.total(some) == 1000


@pytest.mark.parametrize(
    ("refunded", "received", "flags"),
    [
        (0, 0, set()),
        (0, 500, set()),
        (1, 500, {Flag.PARTIALLY_REFUNDED}),
        (499, 500, {Flag.PARTIALLY_REFUNDED}),
        (500, 500, {Flag.REFUNDED}),
        (501, 500, {Flag.REFUNDED}),
        (1, 0, {Flag.REFUNDED}),
    ],
)
def test_refunded_is_what_got_back_as_much_as_came(refunded, received, flags):
    assert refunds.flags(refunded, received) == flags


def test_the_same_refund_is_the_same_on_every_branch_unless_it_moves_another_amount():
    def named(*some: Repayment) -> list[str]:
        return list(refunds.subjects(some))

    assert named(repaid(height=10)) == named(repaid(height=11))
    assert named(repaid(rank=1)) == named(repaid(rank=3))
    assert named(repaid()) != named(repaid(amount=400))
    assert named(repaid()) != named(repaid("0xb"))
    alike = named(repaid(rank=1), repaid(rank=3), repaid(rank=5, amount=400))
    assert len(alike) == 3
    assert set(alike) == {*named(repaid(rank=7, amount=400)), *named(repaid(rank=2), repaid(rank=9))}


def made(amount: int = 500, tx: str = "0xa") -> refunds.Note:
    return refunds.Note(subject=f"refund:{tx}={amount}", text=f"refunded {amount} by {tx}")


MADE = made()
UNDONE = refunds.Note(subject="refund_undone:0xa=500", text="refund of 500 by 0xa undone by a reorg")


@pytest.mark.parametrize(
    ("known", "noted", "new"),
    [
        ([], [], []),
        ([repaid()], [], [MADE]),
        ([repaid()], [MADE], []),
        ([repaid(canonical=False)], [], []),
        ([repaid(canonical=False)], [MADE], [UNDONE]),
        ([repaid(canonical=False)], [MADE, UNDONE], []),
        ([repaid(canonical=False), repaid(height=12)], [MADE], []),
        ([repaid(canonical=False), repaid(height=12)], [MADE, UNDONE], [MADE]),
        ([repaid(), repaid(rank=3)], [MADE], [MADE]),
        ([repaid(), repaid(rank=3)], [], [MADE, MADE]),
        ([repaid(canonical=False), repaid(amount=400)], [MADE], [UNDONE, made(400)]),
        ([repaid("0xb", height=12), repaid("0xa")], [], [MADE, made(tx="0xb")]),
    ],
)
def test_the_timeline_says_what_came_and_what_a_reorg_took_once(known, noted, new):
    """Notes are found by their subjects among the other entries, which have none."""
    subjects = [None, *(note.subject for note in noted)]
    assert refunds.notes(known, subjects) == new
    assert refunds.notes(known, [*subjects, *(note.subject for note in new)]) == []


@pytest.mark.parametrize(
    ("money", "back", "outstanding", "debts"),
    [
        ([], [], 0, []),
        ([("a", 10)], [], 10, [("a", 10)]),
        ([("a", 10), ("b", 5), ("a", 2)], [], 17, [("a", 12), ("b", 5)]),
        ([("a", 10), ("b", 5)], [("b", 5)], 10, [("a", 10)]),
        ([("a", 10), ("b", 5)], [("c", 5)], 10, [("b", 5), ("a", 5)]),
        ([("a", 10), ("b", 5)], [("b", 9)], 6, [("a", 6)]),
        ([("a", 10), ("b", 5)], [], 3, [("b", 3)]),
        ([(None, 10)], [], 10, [(None, 10)]),
    ],
)
def test_what_is_due_goes_to_whom_it_came_from(money, back, outstanding, debts):
    """Newest money first, less what went back to each, and never more than is outstanding."""
    where = {"tx_id": "0xa", "rank": 1, "tx_index": 0, "block_hash": "0xb", "time": 0, "burn_height": 1}
    came = [Inclusion(sender=who, amount=sum_, height=n, **where) for n, (who, sum_) in enumerate(money)]
    sent = [replace(repaid(amount=amount), recipient=who) for who, amount in back]
    owed = refunds.owed(came, sent, outstanding)
    assert [(debt.to, debt.amount) for debt in owed] == debts
