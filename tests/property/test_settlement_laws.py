"""Laws of ``decide`` over random histories of blocks, failures, forks and operator actions."""

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import example, given

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, STRANGER, IntentHistory
from watcher.domain.attention import ATTENTION_EVENTS_BEFORE_DOUBLING
from watcher.domain.decision import Decision
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
    Status,
)
from watcher.domain.settlement import decide


@dataclass(frozen=True)
class Tx:
    """Transaction that pays ``amounts``, or fails if there are none."""

    name: str
    amounts: tuple[int, ...] = ()
    sender: str = PAYER


@dataclass(frozen=True)
class Mined:
    seconds: int
    burn: int
    txs: tuple[Tx, ...]


@dataclass(frozen=True)
class Fork:
    """Replace the last ``depth`` blocks by ``blocks``; ``fates`` are the dropped payments' outcomes."""

    depth: int
    blocks: tuple[Mined, ...]
    fates: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    act: OperatorActionKind
    status: Status | None = None


Step = Mined | Fork | Person

amounts = st.sampled_from([0, 1, 10, 35, 50, 60, 95, 100, 130])
txs = st.builds(
    Tx,
    name=st.uuids(version=4).map(lambda u: u.hex[:8]),
    amounts=st.one_of(st.just(()), st.lists(amounts, min_size=1, max_size=2).map(tuple)),
    sender=st.sampled_from([PAYER, STRANGER]),
)
mined = st.builds(
    Mined,
    seconds=st.sampled_from([1, 7, 40, 150, GRACE, GRACE + 1, 400]),
    burn=st.sampled_from([0, 1, 2]),
    txs=st.one_of(st.just(()), st.just(()), txs.map(lambda tx: (tx,)), st.lists(txs, max_size=2).map(tuple)),
)
forks = st.builds(
    Fork,
    depth=st.integers(1, 4),
    blocks=st.lists(mined, max_size=4).map(tuple),
    fates=st.lists(st.sampled_from(["again", "less", "fails", "gone"]), min_size=3, max_size=3).map(tuple),
)
people = st.one_of(
    st.just(Person(OperatorActionKind.CANCEL)),
    st.just(Person(OperatorActionKind.DISMISS)),
    st.builds(Person, st.just(OperatorActionKind.MARK), st.sampled_from([Status.SUCCEEDED, Status.FAILED])),
)
policies = st.fixed_dictionaries(
    {
        "required": st.sampled_from(
            [Depth(stacks=1, bitcoin=0), Depth(stacks=3, bitcoin=0), Depth(stacks=2, bitcoin=2)]
        ),
        "tolerance": st.sampled_from([0, 5]),
        "late_policy": st.sampled_from(LatePolicy),
        "payer": st.sampled_from([None, PAYER]),
        "expires_at": st.sampled_from([700, 1000, 3000]),
    }
)
quiet = st.lists(mined, min_size=2, max_size=12)
forked = st.lists(st.one_of(mined, mined, forks), max_size=14)
lively = st.lists(st.one_of(mined, mined, forks, people), max_size=14)


@dataclass
class StepFixture:
    """Chain under a story: applies steps as the ledger does, and keeps the story's facts and clock."""

    history: IntentHistory
    headers: list[ChainClock] = field(default_factory=list)
    by_block: dict[str, tuple[Tx, ...]] = field(default_factory=dict)
    newest: int = 0
    touched: bool = True

    def __post_init__(self) -> None:
        self.headers = [self.history.clock]
        self.by_block = {self.history.clock.hash: ()}
        self.newest = self.history.clock.time

    def apply(self, step: Step) -> None:
        self.touched = False
        if isinstance(step, Person):
            self._act(step)
        elif isinstance(step, Mined):
            self._mine(step)
        else:
            self._fork(step)
        self.history.clock = self.headers[-1]
        self.newest = max(self.newest, self.history.clock.time)

    def _act(self, person: Person) -> None:
        if person.act is OperatorActionKind.CANCEL and self.history.intent.status is not Status.PENDING:
            return
        due = self.history.decide().refund_due if person.act is OperatorActionKind.DISMISS else 0
        if person.act is OperatorActionKind.DISMISS and not due:
            return
        self.touched = True
        action = OperatorAction(
            kind=person.act, status=person.status, height=self.history.clock.height, amount=due
        )
        self.history.actions.append(action)

    def _mine(self, block: Mined) -> None:
        tip = self.headers[-1]
        number = len(self.by_block)
        header = ChainClock(
            height=tip.height + 1,
            hash=f"0x{number}",
            time=tip.time + block.seconds,
            burn_height=tip.burn_height + block.burn,
        )
        self.headers.append(header)
        self.by_block[header.hash] = block.txs
        place = {
            "block_hash": header.hash,
            "height": header.height,
            "time": header.time,
            "burn_height": header.burn_height,
        }
        for index, tx in enumerate(block.txs):
            self.touched = True
            if not tx.amounts:
                failure = Failure(
                    tx_id=tx.name, tx_index=index, sender=tx.sender, reason="abort_by_response", **place
                )
                self.history.failures.append(failure)
            for rank, amount in enumerate(tx.amounts):
                self.history.inclusions.append(
                    Inclusion(
                        tx_id=tx.name, rank=rank, tx_index=index, sender=tx.sender, amount=amount, **place
                    )
                )

    def _fork(self, fork: Fork) -> None:
        depth = min(fork.depth, len(self.headers) - 1)
        dropped = self.headers[len(self.headers) - depth :]
        del self.headers[len(self.headers) - depth :]
        lowered = [
            replace(action, height=min(action.height, self.headers[-1].height))
            for action in self.history.actions
        ]
        self.touched = lowered != self.history.actions
        self.history.actions = lowered
        carried: list[Tx] = []
        pool = [tx for header in dropped for tx in self.by_block[header.hash]]
        for number, tx in enumerate(pool):
            fate = fork.fates[number % len(fork.fates)]
            if fate == "again":
                carried.append(tx)
            elif fate == "less":
                carried.append(replace(tx, amounts=tuple(max(0, a - 50) for a in tx.amounts)))
            elif fate == "fails":
                carried.append(replace(tx, amounts=()))
        hashes = {header.hash for header in dropped}
        gone = [i for i in self.history.inclusions if i.canonical and i.block_hash in hashes]
        for number, block in enumerate(fork.blocks):
            self._mine(replace(block, txs=(*carried, *block.txs)) if number == 0 else block)
        # The ledger's invariant: the newest chain time ever applied, including this step.
        at = max(self.newest, self.headers[-1].time)
        self.history.inclusions = [
            replace(i, canonical=False, orphaned_at=at) if i in gone else i for i in self.history.inclusions
        ]
        before = list(self.history.failures)
        self.history.failures = [replace(f, canonical=False) if f.block_hash in hashes else f for f in before]
        self.touched = self.touched or bool(gone) or before != self.history.failures


def tell(steps: list[Step], cuts: set[int], policy: dict[str, object]) -> tuple[IntentHistory, Decision]:
    """Apply the steps; decide after those whose index is in ``cuts``, and at the end."""
    history = IntentHistory(**policy)
    world = StepFixture(history)
    for number, step in enumerate(steps):
        world.apply(step)
        if number in cuts:
            history.decide()
    return history, history.decide()


def lasting(decision: Decision) -> tuple[object, ...]:
    """Return the parts of a decision that must not depend on how many blocks were read at once."""
    return (
        decision.status,
        decision.flags - {Flag.LATE_EVIDENCE},
        decision.received,
        decision.missing,
        decision.over,
        decision.anchor,
    )


def covering(intent: Intent, inclusions: list[Inclusion], *, until: int | None) -> int | None:
    """Return how many canonical transfers it takes to cover the amount; None if it is not covered."""
    total = 0
    canonical = sorted(
        (i for i in inclusions if i.canonical and (until is None or i.time <= until)),
        key=lambda i: (i.height, i.tx_index, i.rank),
    )
    for number, inclusion in enumerate(canonical):
        total += inclusion.amount
        if total >= intent.amount - intent.tolerance:
            return number + 1
    return None


def deep(intent: Intent, inclusions: list[Inclusion], clock: ChainClock, *, until: int | None) -> bool:
    """Return whether the covering transfers have all reached the required depth."""
    count = covering(intent, inclusions, until=until)
    if count is None:
        return False
    walk = sorted(
        (i for i in inclusions if i.canonical and (until is None or i.time <= until)),
        key=lambda i: (i.height, i.tx_index, i.rank),
    )[:count]
    return all(
        clock.height - i.height + 1 >= intent.required.stacks
        and clock.burn_height - i.burn_height >= intent.required.bitcoin
        for i in walk
    )


#: The bound payer's failure gets deep, then a partial payment comes: a batch must not miss the failure.
FAILED_THEN_PARTIAL: list[Step] = [
    Mined(1, 0, (Tx("x"),)),
    Mined(1, 1, ()),
    Mined(1, 0, (Tx("a", (60,)),)),
    Mined(600, 0, ()),
]


@example(
    FAILED_THEN_PARTIAL, set(), {"payer": PAYER, "expires_at": 700, "required": Depth(stacks=1, bitcoin=1)}
)
@given(quiet, st.sets(st.integers(0, 11)), policies)
def test_batch_size_does_not_matter(steps: list[Step], cuts: set[int], policy: dict[str, object]) -> None:
    _, at_once = tell(steps, set(), policy)
    _, block_by_block = tell(steps, set(range(12)), policy)
    _, in_batches = tell(steps, cuts, policy)
    assert lasting(at_once) == lasting(block_by_block) == lasting(in_batches)


@given(lively, policies, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    steps: list[Step], policy: dict[str, object], dice: random.Random
) -> None:
    history = IntentHistory(**policy)
    world = StepFixture(history)
    for step in steps:
        world.apply(step)
        facts = history.facts
        inclusions, failures = list(facts.inclusions), list(facts.failures)
        dice.shuffle(inclusions)
        dice.shuffle(failures)
        shuffled = Facts(inclusions=tuple(inclusions), failures=tuple(failures), actions=facts.actions)
        decision = decide(history.intent, shuffled, history.sent, history.clock)
        assert decision == history.decide()


@given(lively, st.sets(st.integers(0, 13)), policies)
def test_events_form_one_chain_of_alternating_verdicts(
    steps: list[Step], cuts: set[int], policy: dict[str, object]
) -> None:
    """``Story.decide`` checks at every step: determinism, idempotence, event ids, supersedes."""
    history, _ = tell(steps, cuts, policy)
    assert len({draft.id for draft in history.drafts}) == len(history.drafts)
    statuses = [draft.status for draft in history.verdicts]
    assert all(one is not two for one, two in pairwise(statuses))
    assert [d.supersedes for d in history.verdicts] == [None, *(d.id for d in history.verdicts)][
        : len(statuses)
    ]
    subjects = [(d.reason, d.subject) for d in history.drafts if d.type is EventType.ATTENTION]
    assert len(set(subjects)) == len(subjects)
    assert [d.type for d in history.drafts].count(EventType.CREATED) == 1
    assert [d.type for d in history.drafts].count(EventType.CANCELED) <= 1


@given(quiet, policies)
def test_a_success_is_sent_exactly_when_payments_cover_at_depth(
    steps: list[Step], policy: dict[str, object]
) -> None:
    history = IntentHistory(**policy)
    world = StepFixture(history)
    late = history.intent.late_policy is LatePolicy.ACCEPT
    for step in steps:
        world.apply(step)
        decision = history.decide()
        paid = deep(history.intent, history.inclusions, history.clock, until=history.intent.deadline)
        if (
            not paid
            and late
            and covering(history.intent, history.inclusions, until=history.intent.deadline) is None
        ):
            paid = deep(history.intent, history.inclusions, history.clock, until=None)
        assert (decision.status is Status.SUCCEEDED) == paid


#: Two forks, and the payment gets smaller each time: the success sent for it must be superseded.
LESS_AND_LESS: list[Step] = [
    Mined(1, 0, (Tx("a", (100,)),)),
    Fork(1, (Mined(1, 0, ()), Mined(1, 0, ())), ("less",)),
    Fork(2, (Mined(1, 0, ()), Mined(1, 0, ()), Mined(1, 0, ())), ("less",)),
]

#: The tip's time goes back, then a fork orphans the payment: by tip times, "before" the success was sent.
TIP_GOES_BACK: list[Step] = [
    Mined(1, 0, (Tx("a", (100,)),)),
    Mined(150, 0, ()),
    Fork(1, (), ("gone",)),
    Fork(1, (), ("gone",)),
]


@example(LESS_AND_LESS, {0, 1, 2}, {"required": Depth(stacks=1, bitcoin=0)})
@example(TIP_GOES_BACK, {1, 2, 3}, {"required": Depth(stacks=1, bitcoin=0)})
@given(forked, st.sets(st.integers(0, 13)), policies)
def test_no_fork_makes_a_false_success_or_loses_a_true_one(
    steps: list[Step], cuts: set[int], policy: dict[str, object]
) -> None:
    history = IntentHistory(**policy)
    world = StepFixture(history)
    for number, step in enumerate(steps):
        world.apply(step)
        if number not in cuts:
            continue
        decision = history.decide()
        intent = history.intent
        known = {i.key for i in history.inclusions if not i.canonical and i.amount}
        may = [
            replace(i, time=min(i.time, intent.deadline)) if i.key in known else i for i in history.inclusions
        ]
        until = None if intent.late_policy is LatePolicy.ACCEPT else intent.deadline
        sent = [d for d in decision.drafts if d.type is EventType.SUCCEEDED]
        if sent or decision.status is Status.SUCCEEDED:
            assert covering(intent, may, until=until) is not None
        if sent:
            assert any(
                deep(intent, [i for i in may if i.position <= last.position], history.clock, until=until)
                for last in may
            )
        if deep(intent, history.inclusions, history.clock, until=intent.deadline):
            assert decision.status is Status.SUCCEEDED
        if any(d.type in {EventType.FAILED, EventType.EXPIRED} for d in decision.drafts):
            assert covering(intent, history.inclusions, until=intent.deadline) is None


@given(lively, st.sets(st.integers(0, 13)), policies)
def test_without_money_nothing_stays_open_for_ever(
    steps: list[Step], cuts: set[int], policy: dict[str, object]
) -> None:
    history, _ = tell(steps, cuts, policy)
    end = (
        max(history.intent.deadline, DEADLINE, *(i.orphaned_at or 0 for i in history.inclusions), 0)
        + GRACE
        + 1
    )
    last = max(history.clock.time, end)
    history.now(last, height=history.clock.height + 100, burn=history.clock.burn_height + 100)
    decision = history.decide()
    assert decision.status not in {Status.PENDING, Status.PROCESSING}
    assert (decision.next_check.time, decision.next_check.height, decision.next_check.burn_height) == (
        None,
        None,
        None,
    )


@given(lively, st.sets(st.integers(0, 13)), policies, st.data())
def test_nothing_changes_before_the_next_wake_point(
    steps: list[Step], cuts: set[int], policy: dict[str, object], data: st.DataObject
) -> None:
    history, decision = tell(steps, cuts, policy)
    here, wake = history.clock, decision.next_check

    def before(now: int, point: int | None) -> int:
        return data.draw(st.integers(now, now + 500 if point is None else point - 1))

    later = replace(
        here,
        time=before(here.time, wake.time),
        height=before(here.height, wake.height),
        burn_height=before(here.burn_height, wake.burn_height),
    )
    assert decide(history.intent, history.facts, history.sent, later) == replace(decision, drafts=())


#: A payment is orphaned, the tip returns to that time, an operator marks the intent, and a fork drops the
#: mark's block: the mark sinks below the orphaning.
MARK_SINKS: list[Step] = [
    Mined(1, 0, (Tx("a", (1,)),)),
    Fork(1, (), ("gone",)),
    Mined(1, 0, ()),
    Person(OperatorActionKind.MARK, Status.SUCCEEDED),
    Fork(1, (), ("gone",)),
]


@example(MARK_SINKS, {"required": Depth(stacks=1, bitcoin=0)})
@given(lively, policies)
def test_a_daemon_that_asks_only_when_touched_or_woken_ends_the_same(
    steps: list[Step], policy: dict[str, object]
) -> None:
    always, lazy = IntentHistory(**policy), IntentHistory(**policy)
    eager_world, lazy_world = StepFixture(always), StepFixture(lazy)
    wake = lazy.decide().next_check
    for step in steps:
        eager_world.apply(step)
        decision = always.decide()
        lazy_world.apply(step)
        clock = lazy.clock
        points = [
            (clock.time, wake.time),
            (clock.height, wake.height),
            (clock.burn_height, wake.burn_height),
        ]
        if lazy_world.touched or any(due is not None and now >= due for now, due in points):
            wake = lazy.decide().next_check
        assert lazy.intent.status is decision.status
        assert lazy.sent == always.sent


@given(st.lists(st.sampled_from([0, 1, 1, 1, 3, 60, 10**9]), max_size=120), st.sets(st.integers(0, 119)))
def test_attention_to_surplus_is_sent_no_more_often_than_the_surplus_doubles(
    dust: list[int], cuts: set[int]
) -> None:
    """After the first few steps; the last event covers more than half of them."""
    history = IntentHistory().pay("a", 100).grow(2)
    history.decide()
    for number, amount in enumerate(dust):
        history.pay(f"d{number}", amount)
        if number in cuts:
            history.decide()
    decision = history.decide()
    moved = [amount for amount in dust if amount]
    sent = [draft for draft in history.drafts if draft.type is EventType.ATTENTION]
    assert decision.received == 100 + sum(moved)
    assert len(sent) <= ATTENTION_EVENTS_BEFORE_DOUBLING + len(moved).bit_length() + sum(moved).bit_length()
    assert bool(sent) == bool(moved) == (Flag.SURPLUS in decision.flags)
    if sent:
        others, _, total = sent[-1].subject.partition("+")[2].partition("=")
        assert 2 * int(total) > sum(moved)
        assert 2 * (int(others) + 1) > len(moved)
