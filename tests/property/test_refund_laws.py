"""Laws of refunds over random histories: they change no status; each is sent once, when it is deep."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import example, given

from notifier.events import EventType
from tests.property.test_settlement_laws import Fork, Mined, Step, StepFixture, Tx, lively, policies
from tests.unit.watcher.domain.history import PAYER, IntentHistory
from watcher.domain import refunds
from watcher.domain.decision import Decision, EventDraft
from watcher.domain.model import Flag, OperatorActionKind, Repayment

MONEY_BACK = {Flag.REFUNDED, Flag.PARTIALLY_REFUNDED}
#: Flags of an intent that refunds may change.
REFUNDED = MONEY_BACK | {Flag.REFUND_DUE}

#: Amount refunded in the newest block after each step; 0: none.
given_back = st.lists(st.sampled_from([0, 0, 0, 1, 40, 100]), min_size=14, max_size=14)


def give_back(fixture: StepFixture, amount: int, name: str) -> None:
    """Add a refund to the newest block, in a transaction of its own."""
    tip = fixture.headers[-1]
    repaid = Repayment(
        tx_id=name,
        rank=1,
        tx_index=99,
        block_hash=tip.hash,
        height=tip.height,
        time=tip.time,
        burn_height=tip.burn_height,
        sender="SPSHOP",
        recipient=PAYER,
        amount=amount,
    )
    fixture.history.refunds.append(repaid)


def orphan_refunds(fixture: StepFixture) -> bool:
    """Orphan the refunds in blocks that a fork dropped; return whether there were any."""
    standing = {header.hash for header in fixture.headers}
    before = list(fixture.history.refunds)
    fixture.history.refunds = [replace(r, canonical=r.block_hash in standing) for r in before]
    return fixture.history.refunds != before


def essence(drafts: list[EventDraft]) -> list[tuple[object, ...]]:
    """Return the events other than refunds, as the merchant sees them."""
    return [
        (d.id, d.type, d.reason, d.subject, d.supersedes, d.previous_status, d.status, d.flags - REFUNDED)
        for d in drafts
        if d.type is not EventType.REFUNDED
    ]


def due(decision: Decision, history: IntentHistory) -> bool:
    """Return whether the clock has reached the decision's next check."""
    wake, clock = decision.next_check, history.clock
    return (
        (wake.time is not None and wake.time <= clock.time)
        or (wake.height is not None and wake.height <= clock.height)
        or (wake.burn_height is not None and wake.burn_height <= clock.burn_height)
    )


#: Paid and refunded, then a fork orphans only the refund; it is mined again.
TAKEN_BACK: list[Step] = [
    Mined(1, 0, (Tx("a", (100,)),)),
    Mined(1, 0, ()),
    Mined(1, 2, ()),
    Mined(1, 2, ()),
    Fork(3, (Mined(1, 0, ()), Mined(1, 2, ())), ("again",)),
    Mined(1, 2, ()),
    Mined(1, 2, ()),
]


@example(TAKEN_BACK, [0, 100, 0, 0, 0, 100, *[0] * 8], {})
@given(lively, given_back, policies)
def test_refunds_change_nothing_but_their_own_flags_and_events(
    steps: list[Step], amounts: list[int], policy: dict[str, object]
) -> None:
    plain, refunded = StepFixture(IntentHistory(**policy)), StepFixture(IntentHistory(**policy))
    for number, step in enumerate(steps):
        plain.apply(step)
        refunded.apply(step)
        orphan_refunds(refunded)
        if amounts[number]:
            give_back(refunded, amounts[number], f"r{number}")
        without, with_them = plain.history.decide(), refunded.history.decide()
        assert (with_them.status, with_them.received, with_them.anchor) == (
            without.status,
            without.received,
            without.anchor,
        )
        assert with_them.flags - REFUNDED == without.flags - REFUNDED
        if all(
            action.kind is not OperatorActionKind.DISMISS for action in plain.history.actions
        ):  # differs because of the refund's own next check
            assert with_them.refund_due <= without.refund_due <= with_them.refund_due + with_them.refunded
        assert bool(with_them.flags & MONEY_BACK) == (with_them.refunded > 0)
        assert (Flag.REFUNDED in with_them.flags) == (with_them.refunded >= max(1, with_them.received))
    assert essence(refunded.history.drafts) == essence(plain.history.drafts)


@example(TAKEN_BACK, [0, 100, 0, 0, 0, 100, *[0] * 8], {})
@given(lively, given_back, policies)
def test_a_refund_is_sent_once_as_soon_as_it_is_deep_by_decisions_made_only_when_due(
    steps: list[Step], amounts: list[int], policy: dict[str, object]
) -> None:
    history = IntentHistory(**policy)
    fixture = StepFixture(history)
    decision = history.decide()
    for number, step in enumerate(steps):
        fixture.apply(step)
        touched = orphan_refunds(fixture) or fixture.touched
        if amounts[number]:
            # The orphaned transfer is mined again, with the same amount or another.
            standing = {refund.tx_id for refund in refunds.canonical(history.refunds)}
            taken = [refund.tx_id for refund in history.refunds if refund.tx_id not in standing]
            give_back(fixture, amounts[number], taken[0] if taken else f"r{number}")
        if not (touched or amounts[number] or due(decision, history)):
            continue
        decision = history.decide()
        sent = [draft for draft in decision.drafts if draft.refund is not None]
        for draft in sent:
            assert draft.refund in history.refunds
            assert deep(history, draft.refund)
    subjects = [draft.subject for draft in history.drafts if draft.type is EventType.REFUNDED]
    assert len(set(subjects)) == len(subjects)
    for subject, refund in refunds.subjects(refunds.canonical(history.refunds)).items():
        assert (subject in subjects) >= deep(history, refund), "a deep refund was not sent"


def deep(history: IntentHistory, refund: Repayment | None) -> bool:
    assert refund is not None
    assert refund.canonical
    return history.clock.depth(refund.height, refund.burn_height).reaches(history.intent.required)
