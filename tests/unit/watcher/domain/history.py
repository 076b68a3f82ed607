"""Histories of one intent, step by step: the chain moves, operators act, ``decide`` is called and checked.

An intent of 100 units is created at chain time 500. It expires at 1000 with 100 s of inclusion grace, so its
deadline is 1100; late money is watched for 5000 s, the reorg grace is 200 s. Each ``pay`` and ``fail`` mines
one block, 10 s after the one before unless ``at`` says otherwise.
"""

from dataclasses import replace
from typing import Any

from notifier.events import VERDICTS, EventType, event_id
from watcher.domain.decision import Decision, EventDraft
from watcher.domain.model import (
    ChainClock,
    Depth,
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
from watcher.domain.settlement import decide

DEADLINE = 1100
GRACE = 200
PAYER = "SPPAYER"
STRANGER = "SPSTRANGER"


def make_intent(**changes: Any) -> Intent:
    """Return the intent of 100 units that the module describes, at three Stacks confirmations."""
    values: dict[str, Any] = {
        "id": "pi_story",
        "merchant": "mer_story",
        "amount": 100,
        "asset": "sbtc",
        "asset_identifier": "SM.sbtc-token::sbtc-token",
        "recipient": "SPSHOP",
        "reference": "K7Q2M8ZR4T9C",
        "terms_hash": bytes(32),
        "salt": bytes(16),
        "level": None,
        "required": Depth(stacks=3, bitcoin=0),
        "late_policy": LatePolicy.HOLD,
        "created_at": 500,
        "expires_at": 1000,
        "not_before": 0,
        "inclusion_grace": 100,
        "monitoring": 5000,
        "reorg_grace": GRACE,
    }
    return Intent(**(values | changes))


class IntentHistory:
    """One intent, its facts, the chain clock and all events sent."""

    def __init__(self, **changes: Any) -> None:
        self.intent = make_intent(**changes)
        self.clock = ChainClock(height=100, hash="0x100", time=500, burn_height=10)
        self.inclusions: list[Inclusion] = []
        self.failures: list[Failure] = []
        self.actions: list[OperatorAction] = []
        self.refunds: list[Repayment] = []
        self.sent: list[SentEvent] = []
        self.drafts: list[EventDraft] = []
        self.blocks = 0
        self.decide()

    # The chain

    def now(
        self, time: int | None = None, *, height: int | None = None, burn: int | None = None
    ) -> "IntentHistory":
        """Set the clock: an empty block was applied, or the tip went back."""
        self.clock = replace(
            self.clock,
            time=self.clock.time if time is None else time,
            height=self.clock.height if height is None else height,
            burn_height=self.clock.burn_height if burn is None else burn,
        )
        return self

    def grow(self, blocks: int = 1, *, burn: int = 0) -> "IntentHistory":
        """Mine empty blocks, ``burn`` Bitcoin blocks among them."""
        clock = self.clock
        return self.now(clock.time + 10 * blocks, height=clock.height + blocks, burn=clock.burn_height + burn)

    def pay(
        self, tx: str, *amounts: int, at: int | None = None, same_block: bool = False, **more: Any
    ) -> "IntentHistory":
        """Mine a transaction with one transfer per amount; the same name again is the same transaction."""
        place = self._mine(at, same_block)
        for rank, amount in enumerate(amounts):
            values = {"tx_id": tx, "rank": rank, "sender": PAYER, "amount": amount} | place | more
            self.inclusions.append(Inclusion(**values))
        return self

    def refund(self, tx: str, *amounts: int, same_block: bool = False, **more: Any) -> "IntentHistory":
        """Mine a refund, with one transfer back per amount; the same name again is the same transaction."""
        place = self._mine(None, same_block)
        for rank, amount in enumerate(amounts):
            people = {"sender": "SPSHOP", "recipient": PAYER}
            values = {"tx_id": tx, "rank": rank, "amount": amount} | people | place | more
            self.refunds.append(Repayment(**values))
        return self

    def fail(
        self,
        tx: str,
        reason: str = "abort_by_response",
        *,
        by: str = PAYER,
        at: int | None = None,
        same_block: bool = False,
    ) -> "IntentHistory":
        """Mine an attempt that fails."""
        place = self._mine(at, same_block)
        self.failures.append(Failure(tx_id=tx, sender=by, reason=reason, **place))
        return self

    def orphan(self, *txs: str, at: int | None = None, height: int | None = None) -> "IntentHistory":
        """Fork below these transactions: they are orphaned. ``at`` and ``height`` are the new tip's."""
        tip = self.clock.time if at is None else at
        orphaned = max(self.clock.time, tip)
        above = (
            min(
                [i.height for i in self.inclusions if i.canonical and i.tx_id in txs],
                default=self.clock.height + 1,
            )
            - 1
        )
        self.actions = [replace(action, height=min(action.height, above)) for action in self.actions]
        self.inclusions = [
            replace(i, canonical=False, orphaned_at=orphaned) if i.canonical and i.tx_id in txs else i
            for i in self.inclusions
        ]
        self.failures = [replace(f, canonical=False) if f.tx_id in txs else f for f in self.failures]
        self.refunds = [replace(r, canonical=False) if r.tx_id in txs else r for r in self.refunds]
        return self.now(tip, height=height)

    def refute(self, *txs: str) -> "IntentHistory":
        """Read their blocks again and find nothing of the kind: the rows are kept, and the tip stays."""
        self.inclusions = [
            replace(i, canonical=False, orphaned_at=self.clock.time, refuted=True)
            if i.canonical and i.tx_id in txs
            else i
            for i in self.inclusions
        ]
        return self

    def verify(self, *txs: str) -> "IntentHistory":
        """A second source shows these transactions in the same blocks."""
        self.inclusions = [
            replace(i, verified_by=("api.example", "node.example")) if i.canonical and i.tx_id in txs else i
            for i in self.inclusions
        ]
        return self

    def lose(self, tx: str) -> "IntentHistory":
        """Drop the rows of a transaction, as no correct ledger does."""
        self.inclusions = [i for i in self.inclusions if i.tx_id != tx]
        return self

    def _mine(self, at: int | None, same_block: bool) -> dict[str, Any]:
        if not same_block:
            self.grow()
            self.blocks += 1
        if at is not None:
            self.now(at)
        clock = self.clock
        index = sum(i.height == clock.height for i in self.inclusions)
        return {
            "tx_index": index,
            "block_hash": f"0x{clock.height}-{self.blocks}",
            "height": clock.height,
            "time": clock.time,
            "burn_height": clock.burn_height,
        }

    # People

    def cancel(self) -> "IntentHistory":
        self.actions.append(OperatorAction(kind=OperatorActionKind.CANCEL, height=self.clock.height))
        return self

    def mark(self, status: Status, reason: str = "seen in the wallet") -> "IntentHistory":
        self.actions.append(
            OperatorAction(
                kind=OperatorActionKind.MARK, status=status, reason=reason, height=self.clock.height
            )
        )
        return self

    def dismiss(self) -> "IntentHistory":
        """Dismiss what is due at the moment."""
        due = self.decide().refund_due
        self.actions.append(
            OperatorAction(kind=OperatorActionKind.DISMISS, height=self.clock.height, amount=due)
        )
        return self

    # The decision

    @property
    def facts(self) -> Facts:
        return Facts(
            inclusions=tuple(self.inclusions),
            failures=tuple(self.failures),
            actions=tuple(self.actions),
            refunds=tuple(self.refunds),
        )

    def decide(self) -> Decision:
        """Decide, check what holds for every decision, and remember what was sent."""
        decision = decide(self.intent, self.facts, self.sent, self.clock)
        assert decide(self.intent, self.facts, self.sent, self.clock) == decision
        self._check_drafts(decision)
        self.sent += [
            SentEvent(id=d.id, type=d.type, reason=d.reason, subject=d.subject, time=self.clock.time)
            for d in decision.drafts
        ]
        self.drafts += decision.drafts
        self.intent = replace(self.intent, status=decision.status)
        again = decide(self.intent, self.facts, self.sent, self.clock)
        assert again == replace(decision, drafts=()), "asking again says nothing and changes nothing"
        assert bool(decision.to_verify) <= (Flag.UNVERIFIED in decision.flags)
        self.inclusions = [
            replace(i, unverified_since=self.clock.time) if i.canonical and i.key in decision.to_verify else i
            for i in self.inclusions
        ]
        return decision

    def _check_drafts(self, decision: Decision) -> None:
        counts = {kind: sum(event.type is kind for event in self.sent) for kind in EventType}
        verdicts = [event for event in self.sent if event.verdict]
        before: Status | None = self.intent.status
        for draft in decision.drafts:
            assert draft.n == counts[draft.type]
            assert draft.id == event_id(self.intent.id, draft.type, draft.n)
            counts[draft.type] += 1
            assert draft.previous_status == (None if draft.type is EventType.CREATED else before)
            before = draft.status
            assert draft.supersedes == (verdicts[-1].id if verdicts and draft.type in VERDICTS else None)
            if draft.type in VERDICTS:
                sent = SentEvent(id=draft.id, type=draft.type)
                assert sent.verdict is draft.status
                assert not verdicts or verdicts[-1].verdict is not sent.verdict, "the same verdict twice"
                verdicts.append(sent)
        assert before == decision.status or not decision.drafts
        assert decision.received == sum(i.amount for i in self.inclusions if i.canonical)
        assert decision.missing == max(0, self.intent.amount - decision.received)
        assert decision.over == max(0, decision.received - self.intent.amount)
        assert decision.refunded == sum(r.amount for r in self.refunds if r.canonical)
        assert 0 <= decision.refund_due <= decision.received
        assert (decision.refund_due > 0) == (Flag.REFUND_DUE in decision.flags)
        assert not decision.refund_due or decision.status not in {Status.PENDING, Status.PROCESSING}

    def new_events(self) -> list[str]:
        """Decide, and return what was sent, as ``type`` or ``type:reason``."""
        return [short(draft) for draft in self.decide().drafts]

    @property
    def verdicts(self) -> list[EventDraft]:
        return [draft for draft in self.drafts if draft.type in VERDICTS]


def short(draft: EventDraft) -> str:
    kind = draft.type.removeprefix("payment.")
    return f"{kind}:{draft.reason}" if draft.reason else kind
