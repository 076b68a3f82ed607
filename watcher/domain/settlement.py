"""Decide the state of an intent: one pure function over facts, sent verdicts and the chain clock.

The rows named in comments are those of the status table in ``docs/states.md``. Money comes before attempts,
attempts before the deadline; a verdict that was sent is replaced on positive evidence only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notifier.events import VERDICTS, EventType, event_id
from watcher.domain import refunds
from watcher.domain.attention import next_subject
from watcher.domain.coverage import (
    Coverage,
    OrphanedPayment,
    find_coverage,
    find_unverified,
    in_order,
    sort_transfers,
)
from watcher.domain.decision import Decision, EventDraft, NextCheck
from watcher.domain.model import (
    ChainClock,
    Facts,
    Failure,
    Flag,
    Inclusion,
    Intent,
    LatePolicy,
    OperatorAction,
    OperatorActionKind,
    Repayment,
    SentEvent,
    Status,
)


def decide(intent: Intent, facts: Facts, sent: Sequence[SentEvent], clock: ChainClock) -> Decision:
    """Return the state of ``intent`` and the events to send; the same input gives the same result.

    ``sent`` lists the intent's earlier events in order. Deciding again with the drafts appended to ``sent``
    yields the same status without drafts.
    """
    return _Case(intent, facts, sent, clock).decide()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """Status and flags; ``is_new``: a verdict that has to be sent, with its reason."""

    status: Status
    flags: frozenset[Flag]
    is_new: bool = False
    reason: str | None = None


class _Case:
    """One call of :func:`decide`: the sorted facts, the events sent so far, and the drafts added."""

    def __init__(self, intent: Intent, facts: Facts, sent: Sequence[SentEvent], clock: ChainClock) -> None:
        self.intent = intent
        self.facts = facts
        self.clock = clock
        self.sent = list(sent)
        self.drafts: list[EventDraft] = []
        self.before = intent.status
        self.mark = facts.last_action(OperatorActionKind.MARK)
        self.marks = sum(action.kind is OperatorActionKind.MARK for action in facts.actions)
        self.cancel = facts.last_action(OperatorActionKind.CANCEL)
        self.accepts_late = intent.late_policy is LatePolicy.ACCEPT and self.cancel is None
        self.money = sort_transfers(intent, facts.inclusions)
        self.canonical = self.money.canonical
        self.received = sum(inclusion.amount for inclusion in self.canonical)
        self.refunds = refunds.canonical(facts.refunds)
        self.refunded = refunds.total(facts.refunds)
        self.on_time_cover = find_coverage(intent, self.money.on_time)
        self.cover = self.on_time_cover
        if self.cover is None and self.accepts_late:
            self.cover = find_coverage(intent, self.canonical)
        self.unverified = find_unverified(intent, self.cover, self.canonical, now=clock.time)
        self.lost_on_time = tuple(orphaned for orphaned in self.money.lost if orphaned.timely)
        #: Orphaned money that may be mined again. Refuted money matters only where a success was sent because
        #: of it.
        self.awaited = tuple(orphaned for orphaned in self.lost_on_time if not orphaned.inclusion.refuted)
        # It may have been marked because of late money.
        counts_late = self.accepts_late or self.mark is not None
        self.lost = self.money.lost if counts_late else self.lost_on_time
        # The newest of several wins.
        timely = {
            orphaned.tx_id: self._hold(orphaned) for orphaned in self.lost if not orphaned.inclusion.refuted
        }
        failures = (f for f in facts.failures if f.canonical)
        self.failures = sorted(
            (f for f in failures if f.time <= max(intent.deadline, timely.get(f.tx_id, 0))),
            key=lambda failure: (failure.height, failure.tx_index),
        )

    def decide(self) -> Decision:
        if not any(event.type is EventType.CREATED for event in self.sent):  # row 1
            self._emit(EventType.CREATED, _Outcome(status=Status.PENDING, flags=frozenset()))
        outcome = self._outcome()
        while outcome.is_new:
            kind = EventType(f"payment.{outcome.status}")
            self._emit(kind, outcome, outcome.reason, self._verdict_subject(outcome))
            outcome = self._outcome()
        if outcome.status is Status.PROCESSING and Flag.REORGED not in outcome.flags:  # row 3
            verdict = self._last_verdict()
            self._emit_once(EventType.PROCESSING, outcome, subject=verdict.id if verdict else "")
        if outcome.status is Status.CANCELED:  # row 13
            self._emit_once(EventType.CANCELED, outcome)
        self._call_attention(outcome)
        for subject, refund in self._unsent_refunds().items():
            if self._deep(refund):
                self._emit(EventType.REFUNDED, outcome, subject=subject, refund=refund)
        return Decision(
            status=outcome.status,
            flags=outcome.flags,
            received=self.received,
            missing=max(0, self.intent.amount - self.received),
            over=max(0, self.received - self.intent.amount),
            refunded=self.refunded,
            refund_due=(due := self._refund_due(outcome.status)),
            owed=refunds.owed(self._idle(outcome.status), self.facts.refunds, due) if due else (),
            anchor=self._anchor(),
            drafts=tuple(self.drafts),
            to_verify=self.unverified.fresh if Flag.UNVERIFIED in outcome.flags else frozenset(),
            next_check=self._next_check(outcome),
        )

    # Status

    def _outcome(self) -> _Outcome:
        last = self._last_verdict()
        verdict = last.verdict if last else None
        if self.mark is not None:  # row 2
            status = _marked(self.mark)
            taken = last is not None and verdict is status is Status.SUCCEEDED and self._lost_since(last)
            more = {Flag.MANUAL, Flag.REORGED} if taken else {Flag.MANUAL}
            return self._make_outcome(status, *more, is_new=verdict is not status, reason="manual")
        if last is not None and verdict is Status.SUCCEEDED:
            return self._after_success(last)
        if last is not None and verdict is not None:
            return self._after_unpaid(last, verdict)
        if self.cancel is not None:  # row 13
            return self._make_outcome(Status.CANCELED)
        if self.on_time_cover is not None:
            return self._covered()
        return self._uncovered()

    def _make_outcome(
        self, status: Status, *more: Flag, is_new: bool = False, reason: str | None = None
    ) -> _Outcome:
        """Return an outcome with the flags that the money alone gives, and ``more``."""
        return _Outcome(status=status, flags=self._flags(status) | set(more), is_new=is_new, reason=reason)

    def _covered(self, *more: Flag) -> _Outcome:
        """Rows 3, 4 and 4a, also as the second half of rows 14 and 15a."""
        assert self.cover is not None, "called for a covered intent only"
        if not self._deep(self.cover):
            return self._make_outcome(Status.PROCESSING, *more)
        if self.unverified.keys:  # row 4a
            return self._make_outcome(Status.PROCESSING, Flag.UNVERIFIED, *more)
        return self._make_outcome(Status.SUCCEEDED, *more, is_new=True)

    def _after_success(self, last: SentEvent) -> _Outcome:
        """Rows 5 and 6: a sent success stays, unless a reorg provably orphaned the money."""
        taken = self._lost_since(last)
        if self.cover is not None or not self._covered_with(taken):
            more = [Flag.LATE_EVIDENCE] if last.subject == Flag.LATE_EVIDENCE else []
            return self._make_outcome(Status.SUCCEEDED, *more)
        if self._held(taken) and not self._failed_again(taken):  # row 6
            return self._make_outcome(Status.PROCESSING, Flag.REORGED)
        return self._make_outcome(Status.FAILED, Flag.REORGED, is_new=True, reason="reorged")  # row 6b

    def _after_unpaid(self, last: SentEvent, verdict: Status) -> _Outcome:
        """Rows 14 and 15: ``failed`` or ``expired`` was sent."""
        if self.on_time_cover is not None:  # row 14
            return self._covered(Flag.LATE_EVIDENCE)
        if self.cover is not None:  # row 15a
            return self._covered()
        more = [Flag.REORGED] if last.reason == "reorged" else []
        return self._make_outcome(verdict, *more)  # row 15

    def _uncovered(self) -> _Outcome:
        """Rows 7 to 12: no verdict sent, and the on-time money does not cover the amount."""
        lost = self.awaited
        if not self._held(lost) or self._failed_again(lost):
            reason = self._payers_failure()
            if reason is not None:  # row 10
                return self._make_outcome(Status.FAILED, is_new=True, reason=reason)
            if self.clock.time > self.intent.deadline:
                if self.failures and not self.money.on_time:  # row 11
                    return self._make_outcome(Status.FAILED, is_new=True, reason=self.failures[-1].reason)
                return self._make_outcome(Status.EXPIRED, is_new=True)  # row 12
        return self._make_outcome(Status.PENDING)  # rows 1, 7, 8 and 9

    def _lost_since(self, last: SentEvent) -> tuple[OrphanedPayment, ...]:
        """Return what was orphaned after a success was sent and, if the intent was marked, after the mark.

        A reorg below the mark lowers the height of the mark to its fork point.
        """
        height = self.mark.height if self.mark is not None else -1
        return tuple(
            orphaned
            for orphaned in self.lost
            if orphaned.at >= last.time and orphaned.inclusion.height > height
        )

    def _covered_with(self, taken: Iterable[OrphanedPayment]) -> bool:
        """Return whether the intent was covered before these were orphaned, each at its greatest amount."""
        kept = self.canonical if self.accepts_late else self.money.on_time
        known = sorted(
            [*kept, *(orphaned.inclusion for orphaned in taken)], key=lambda inclusion: inclusion.amount
        )
        most = {inclusion.key: inclusion for inclusion in known}
        return find_coverage(self.intent, in_order(most.values())) is not None

    def _held(self, lost: Iterable[OrphanedPayment]) -> bool:
        """Return whether an orphaned payment may still be mined again in time (rows 6 and 7)."""
        return any(self.clock.time <= self._hold(orphaned) for orphaned in lost)

    def _failed_again(self, lost: Iterable[OrphanedPayment]) -> bool:
        """Return whether every orphaned payment has failed on the new branch, at the required depth."""
        failed = {failure.tx_id for failure in self.failures if self._deep(failure)}
        return all(orphaned.tx_id in failed for orphaned in lost)

    def _payers_failure(self) -> str | None:
        """Return the reason of the bound payer's newest failure that was deep enough before any money came.

        Measured at the block of the first money, not at the clock, so that the result does not depend on how
        many blocks were read at once.
        """
        keys = {inclusion.key for inclusion in self.money.on_time}
        came = [(i.height, i.burn_height) for i in self.facts.inclusions if i.key in keys]
        height, burn_height = min([(self.clock.height + 1, self.clock.burn_height), *came])
        required = self.intent.required
        return next(
            (
                f.reason
                for f in reversed(self.failures)
                if f.sender == self.intent.payer
                and height - f.height >= required.stacks
                and burn_height - f.burn_height >= required.bitcoin
            ),
            None,
        )

    @property
    def _told_at(self) -> int:
        """Chain time at which a person is told that a success still waits for a second source."""
        return self.unverified.since + self.intent.inclusion_grace + 1

    def _hold(self, orphaned: OrphanedPayment) -> int:
        return orphaned.at + self.intent.reorg_grace

    def _deep(self, place: Coverage | Failure | Repayment) -> bool:
        return self.clock.depth(place.height, place.burn_height).reaches(self.intent.required)

    def _flags(self, status: Status) -> frozenset[Flag]:
        """Return the flags that the money alone gives, received and refunded."""
        flags = set(refunds.flags(self.refunded, self.received))
        if self.cover is None and self.money.on_time and status in {Status.PENDING, Status.EXPIRED}:
            flags.add(Flag.UNDERPAID)
        if self.cover is not None and self.cover.total > self.intent.amount and status is not Status.CANCELED:
            flags.add(Flag.OVERPAID)
        if self._surplus(status):
            flags.add(Flag.SURPLUS)
        if self._late(status):
            flags.add(Flag.LATE)
        if self._refund_due(status):
            flags.add(Flag.REFUND_DUE)
        return frozenset(flags)

    def _surplus(self, status: Status) -> list[Inclusion]:
        """Return the money that came after the covering transaction."""
        if self.cover is None or status is Status.CANCELED:
            return []
        return [inclusion for inclusion in self.canonical if inclusion.key not in self.cover.keys]

    def _late(self, status: Status) -> tuple[Inclusion, ...]:
        """Return the money that came after the deadline or the cancellation of an uncovered intent."""
        if status is Status.CANCELED and self.cancel is not None:
            known = self.on_time_cover
            if known is not None and known.height <= self.cancel.height:
                # Only an uncovered intent can be canceled: another branch brought this money later, below
                # that height.
                return self.canonical
            return self._since(self.cancel)
        return self.money.late if self.on_time_cover is None else ()

    def _refund_due(self, status: Status) -> int:
        """Return what is still to be refunded: money that does not pay an ended intent."""
        dismissals = [action for action in self.facts.actions if action.kind is OperatorActionKind.DISMISS]
        return refunds.due(self._idle(status), self.facts.refunds, dismissals)

    def _idle(self, status: Status) -> Iterable[Inclusion]:
        """Return the money of an ended intent that does not pay it; of an open one all money still may."""
        if status in {Status.FAILED, Status.EXPIRED, Status.CANCELED}:
            return self.canonical
        if status is not Status.SUCCEEDED:
            return ()
        since = self._since(self.mark) if self.mark is not None else ()
        return dict.fromkeys([*self._surplus(status), *since])

    def _since(self, action: OperatorAction) -> tuple[Inclusion, ...]:
        """Return the money above an action's height, even if it was lower on another branch.

        Better to flag twice than never.
        """
        return tuple(inclusion for inclusion in self.canonical if inclusion.height > action.height)

    def _anchor(self) -> tuple[int, int] | None:
        if self.cover is not None:
            return (self.cover.height, self.cover.burn_height)
        if not self.canonical:
            return None
        return (max(i.height for i in self.canonical), max(i.burn_height for i in self.canonical))

    def _next_check(self, outcome: _Outcome) -> NextCheck:
        """Return when to decide again without a new fact.

        After a verdict or an action only a refund that gets deep enough is a reason.
        """
        status = outcome.status
        places: list[Coverage | Failure | Repayment] = [*self._unsent_refunds().values()]
        times = []
        if self.mark is None and status in {Status.PENDING, Status.PROCESSING}:
            places += self.failures
            if self.cover is not None:
                places.append(self.cover)
            times += [self._hold(orphaned) + 1 for orphaned in self.money.lost]
            if status is Status.PENDING:
                times.append(self.intent.deadline + 1)
            if Flag.UNVERIFIED in outcome.flags:
                times.append(self._told_at)
        required = self.intent.required
        return NextCheck(
            time=_next(self.clock.time, times),
            height=_next(self.clock.height, (place.height + required.stacks - 1 for place in places)),
            burn_height=_next(
                self.clock.burn_height, (place.burn_height + required.bitcoin for place in places)
            ),
        )

    # Events

    def _last_verdict(self) -> SentEvent | None:
        return next((event for event in reversed(self.sent) if event.verdict is not None), None)

    def _verdict_subject(self, outcome: _Outcome) -> str:
        if Flag.MANUAL in outcome.flags:
            return f"mark:{self.marks}"
        return Flag.LATE_EVIDENCE if Flag.LATE_EVIDENCE in outcome.flags else ""

    def _call_attention(self, outcome: _Outcome) -> None:
        """Emit attention events: rows 4a, 5, 6 and 15, and what the chain does to a marked intent."""
        calling = {inclusion.key: (inclusion, "surplus") for inclusion in self._surplus(outcome.status)}
        if outcome.status in {Status.FAILED, Status.EXPIRED, Status.CANCELED}:
            for inclusion in self._late(outcome.status):
                calling.setdefault(inclusion.key, (inclusion, "late"))
        if self.mark is not None:
            reason = "surplus" if outcome.status is Status.SUCCEEDED else "late"
            for inclusion in self._since(self.mark):
                calling.setdefault(inclusion.key, (inclusion, reason))
        for reason in ("surplus", "late"):
            money = [inclusion for inclusion, why in calling.values() if why == reason]
            kind = (EventType.ATTENTION, reason)
            subject = next_subject(money, [e.subject for e in self.sent if (e.type, e.reason) == kind])
            if subject is not None:
                self._emit(EventType.ATTENTION, outcome, reason, subject)
        verdict = self._last_verdict()
        if Flag.UNVERIFIED in outcome.flags and self.clock.time >= self._told_at:
            wait = f"{verdict.id if verdict else ''}@{self.unverified.since}"
            self._emit_once(EventType.ATTENTION, outcome, "unverified", wait)
        if verdict is not None and verdict.verdict is Status.SUCCEEDED and Flag.REORGED in outcome.flags:
            newest = max(orphaned.at for orphaned in self.lost)
            self._emit_once(EventType.ATTENTION, outcome, "reorged", f"{verdict.id}@{newest}")

    def _emit_once(
        self, kind: EventType, outcome: _Outcome, reason: str | None = None, subject: str = ""
    ) -> None:
        if all((event.type, event.reason, event.subject) != (kind, reason, subject) for event in self.sent):
            self._emit(kind, outcome, reason, subject)

    def _unsent_refunds(self) -> dict[str, Repayment]:
        """Return the canonical refunds without an event, in chain order, by subject."""
        sent = {event.subject for event in self.sent if event.type is EventType.REFUNDED}
        subjects = refunds.subjects(self.refunds)
        return {subject: refund for subject, refund in subjects.items() if subject not in sent}

    def _emit(
        self,
        kind: EventType,
        outcome: _Outcome,
        reason: str | None = None,
        subject: str = "",
        *,
        refund: Repayment | None = None,
    ) -> None:
        verdict = self._last_verdict()
        n = sum(event.type is kind for event in self.sent)
        draft = EventDraft(
            id=event_id(self.intent.id, kind, n),
            type=kind,
            n=n,
            reason=reason,
            subject=subject,
            supersedes=verdict.id if verdict and kind in VERDICTS else None,
            previous_status=None if kind is EventType.CREATED else self.before,
            status=outcome.status,
            flags=outcome.flags,
            refund=refund,
        )
        self.before = outcome.status
        self.drafts.append(draft)
        self.sent.append(
            SentEvent(id=draft.id, type=kind, reason=reason, subject=subject, time=self.clock.time)
        )


def _marked(mark: OperatorAction) -> Status:
    assert mark.status is not None, "a mark without a status is refused when it is stored"
    return mark.status


def _next(here: int, points: Iterable[int]) -> int | None:
    return min((point for point in points if point > here), default=None)
