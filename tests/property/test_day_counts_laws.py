"""Random lives of a shop: its counters of days are always what counting all intents anew gives."""

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.testing import ScriptedApi, principal, txs
from chain.testing.tx import Tx
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from tests.integration.watcher.link_fixture import Links
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.postgresql import Server
from watcher.errors import Refused

#: Seconds in steps that cross hours and midnights.
SECONDS = [5, 600, 4000, 40_000, 90_000]
AMOUNTS = [1, 20_000, 50_000, 70_000]
OTHER = principal("other")

numbers = st.integers(0, 7)
creations = st.tuples(
    st.just("create"),
    st.sampled_from(
        [
            {},
            {"late_policy": "accept", "expires_in": 900},
            {"level": "anchored", "expires_in": 200_000},
            {"asset": "stx"},
        ]
    ),
    st.sampled_from(["shop", "other", "link"]),
)
payments = st.tuples(
    st.just("pay"),
    st.lists(st.tuples(numbers, st.sampled_from(AMOUNTS), st.sampled_from(["ok", "fails", "unlabeled"]))),
    st.sampled_from(SECONDS),
)
acts = st.one_of(
    st.tuples(st.just("cancel"), numbers),
    st.tuples(st.just("mark"), numbers, st.sampled_from(["succeeded", "failed"])),
    st.tuples(st.just("assign"), numbers, numbers),
    st.tuples(st.just("refund"), numbers, st.sampled_from(AMOUNTS)),
    st.tuples(st.just("dismiss"), numbers),
    st.tuples(st.just("switch"), numbers),
)
forks = st.tuples(st.just("fork"), st.integers(1, 4), st.lists(st.booleans(), min_size=1, max_size=4))
histories = st.lists(
    st.one_of(creations, payments, payments, acts, forks, st.just(("reindex",))), min_size=2, max_size=12
)


class Life:
    """Plays a history, and looks at the counters after each step."""

    def __init__(self, fixture: LedgerFixture) -> None:
        self.fixture = fixture
        self.other = fixture.add_merchant("Other", OTHER)
        self.links = Links(fixture, prices={"sbtc": "50000", "stx": "50000"})
        self.serial = 0
        self.tokens: list[str] = []
        self.intents = [fixture.create(), fixture.create(self.other), fixture.create(expires_in=200_000)]

    async def play(self, history: list[tuple[Any, ...]]) -> None:
        for act, *how in history:
            try:
                done = getattr(self, act)(*how)
                if isinstance(done, Coroutine):
                    await done
            except Refused:
                pass  # what the rules forbid is no part of the history
            self.check()

    def check(self) -> None:
        with self.fixture.database.read() as connection:
            harness.check_day_counts(connection)

    def at(self, number: int) -> str:
        return self.intents[number % len(self.intents)]

    # Steps of a history

    def create(self, fields: dict[str, Any], where: str) -> None:
        if where == "link":
            token = self.links.start(f"{len(self.tokens):022}", asset=fields.get("asset", "sbtc"))
            self.tokens.append(token)
            self.intents.append(self.links.intent(token))
        else:
            self.intents.append(self.fixture.create(self.other if where == "other" else None, **fields))

    def switch(self, number: int) -> None:
        if self.tokens:
            token = self.tokens[number % len(self.tokens)]
            assets = {"sbtc": "stx", "stx": "sbtc"}
            self.tokens.append(self.links.switch(token, assets[self.links.checkout(token)["asset"]]))
            self.intents.append(self.links.intent(self.tokens[-1]))

    def pay(self, paid: list[tuple[int, int, str]], seconds: int) -> None:
        self.fixture.clock.now += seconds
        self.fixture.mine(*(self.payment(*payment) for payment in paid), seconds=seconds, burn=True)

    def payment(self, number: int, amount: int, how: str) -> Tx:
        self.serial += 1
        shown = self.fixture.show(self.at(number))
        memo = b"" if how == "unlabeled" else str(shown["reference"]).encode()
        make = txs.stx_transfer if shown["asset"] == "stx" else txs.sbtc_transfer
        made = make(PAYER, shown["recipient"], amount, memo, label=str(self.serial))
        return made.failed() if how == "fails" else made

    def fork(self, depth: int, keep: list[bool]) -> None:
        depth = min(depth, self.fixture.tip.height - 100)
        if depth < 1:
            return
        orphans = [tx for block in self.fixture.chain.blocks[-depth:] for tx in block.txs if not tx.is_system]
        again = [tx for number, tx in enumerate(orphans) if keep[number % len(keep)]]
        self.fixture.fork(depth, [again, *[[]] * depth])

    def cancel(self, number: int) -> None:
        self.fixture.cancel(self.at(number))

    def mark(self, number: int, status: str) -> None:
        self.fixture.mark(self.at(number), status)

    def dismiss(self, number: int) -> None:
        self.fixture.dismiss(self.at(number))

    def assign(self, transfer: int, number: int) -> None:
        unmatched = [row["id"] for row in self.fixture.transfers() if row["intent_id"] is None]
        if unmatched:
            self.fixture.assign(unmatched[transfer % len(unmatched)], self.at(number))

    def refund(self, number: int, amount: int) -> None:
        self.serial += 1
        digest = self.fixture.terms_hash(self.at(number))
        self.fixture.mine(
            txs.contract_refund(
                harness.PAYMENT_CONTRACT, SHOP, STRANGER, amount, intent_id=digest, label=str(self.serial)
            )
        )

    async def reindex(self) -> None:
        async with ScriptedApi(self.fixture.chain, ping_interval=None) as api:
            await Reading(self.fixture, [api]).reindex()


def live(history: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="days-") as folder:
        fixture = LedgerFixture(Path(folder))
        try:
            asyncio.run(Life(fixture).play(history))
        finally:
            fixture.database.close()


LIFE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LIFE
@given(history=histories)
def test_the_counters_are_what_counting_anew_gives(history: list[tuple[Any, ...]]) -> None:
    """After every step of a life with payments, forks across midnights, acts of people, and reindexing."""
    live(history)


def test_the_counters_are_what_counting_anew_gives_on_postgresql(on_postgresql: Server) -> None:
    """Only the database differs, so fewer lives are enough."""

    @settings(LIFE, max_examples=10)
    @given(history=histories)
    def law(history: list[tuple[Any, ...]]) -> None:
        live(history)

    law()


def test_what_is_counted_at_once_is_counted_once(on_postgresql: Server) -> None:
    """Several processes create and cancel for the same merchants and days while blocks come and go."""
    with tempfile.TemporaryDirectory(prefix="days-") as folder:
        fixture = LedgerFixture(Path(folder))
        other = fixture.add_merchant("Other", OTHER)
        made: list[str] = []

        def create(which: int) -> None:
            for number in range(12):
                owner = other if (number + which) % 2 else None
                made.append(fixture.create(owner, asset="stx" if number % 3 else "sbtc", expires_in=900))

        def cancel() -> None:
            for number in range(30):
                with contextlib.suppress(Refused, IndexError):
                    fixture.cancel(made[number * 3 % max(1, len(made))])

        def follow() -> None:
            for number in range(12):
                some = made[-4:]
                paid = [
                    txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent), label=f"{number}{intent}")
                    for intent in some
                ]
                fixture.mine(*paid, seconds=SECONDS[number % len(SECONDS)])
                if number % 4 == 3:
                    fixture.fork(2, [[], [], []])

        try:
            with ThreadPoolExecutor(5) as threads:
                running = [threads.submit(create, which) for which in range(3)]
                running += [threads.submit(work) for work in (cancel, follow)]
                for one in running:
                    one.result(timeout=60)
            assert len(set(made)) == 36
            with fixture.database.read() as connection:
                harness.check_day_counts(connection)
        finally:
            fixture.database.close()
