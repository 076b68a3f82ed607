"""Shared test helpers to run the daemon's parts for real: settings, database, scripted chain, intents."""

import asyncio
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from chain.api.client import StacksApi
from chain.follower import MARGIN_BURN_BLOCKS, Follower
from chain.header_window import HeaderWindow
from chain.model import FetchRules
from chain.source_pool import SourcePool
from chain.testing import principal
from contracts.model import PaymentRules
from contracts.networks import NETWORKS, NetworkName, asset_contract, sbtc_asset
from contracts.terms import terms_hash
from watcher.domain.day_counts import MERCHANT as BY_MERCHANT
from watcher.domain.day_counts import PAYMENT_LINK as BY_LINK
from watcher.domain.day_counts import DayCount, DayKey, changes
from watcher.domain.matching import intent_keys, reference_key
from watcher.domain.model import BEFORE_THE_CHAIN, LEVELS, Intent, LatePolicy, Match
from watcher.domain.server_info import ServerInfo
from watcher.indexer.interests import StoredInterests
from watcher.indexer.ledger import Ledger
from watcher.indexer.loop import IndexerLoop
from watcher.indexer.settler import Settler
from watcher.store import chain_state, day_counts
from watcher.store import intents as intent_store
from watcher.store.database import Database
from watcher.store.schema import intent, merchant
from watcher.store.statistics_schema import day_count, payment_link_day

MAINNET = NETWORKS[NetworkName.MAINNET]
SBTC = sbtc_asset(MAINNET.sbtc_contract)
PAYMENT_CONTRACT = f"{principal('deployer')}.sbtc-payments"
RULES = PaymentRules(
    assets=frozenset({SBTC, "STX"}),
    sbtc_contract=MAINNET.sbtc_contract,
    payment_contract=PAYMENT_CONTRACT,
    memo_router=MAINNET.memo_router,
    ignored_senders=MAINNET.ignored_senders,
)
WATCHED = FetchRules(watched_contracts=frozenset({MAINNET.sbtc_contract, PAYMENT_CONTRACT}))
SETTLER = Settler(server_info=ServerInfo(network="mainnet", payment_contract=PAYMENT_CONTRACT))
MERCHANT = "mer_TEST"
SHOP = principal("shop")


class Clock:
    """Clock that only moves on request, and a sleep that only moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def intent_record(name: str, *, created_at: int, amount: int = 50_000, **changes: Any) -> Intent:
    """Return an intent of the test merchant; keywords override any field."""
    fields: dict[str, Any] = {
        "id": f"pi_{name}",
        "merchant": MERCHANT,
        "amount": amount,
        "asset": "sbtc",
        "asset_identifier": SBTC,
        "recipient": SHOP,
        "reference": name.upper(),
        "reference_generated": False,
        "salt": hashlib.sha256(name.encode()).digest()[:16],
        "match": Match.REFERENCE,
        "level": "included",
        "late_policy": LatePolicy.HOLD,
        "created_at": created_at,
        "expires_at": created_at + 3600,
        "not_before": created_at - 86_400,
        "inclusion_grace": 600,
        "monitoring": 86_400,
        "reorg_grace": 7200,
    } | changes
    fields.setdefault("required", LEVELS[fields["level"]])
    fields.setdefault(
        "terms_hash",
        terms_hash(
            amount=fields["amount"],
            expires_at=fields["expires_at"],
            merchant=fields["recipient"],
            salt=fields["salt"],
            token=asset_contract(fields["asset_identifier"]),
        ),
    )
    return Intent(**fields)


def sqlite_url(folder: Path) -> str:
    """Return the URL of the SQLite file in a folder."""
    return f"sqlite:///{folder}/watcher.db"


#: Maps a test's folder to a database URL; the fixture ``backend`` replaces it by one for PostgreSQL.
database_url: Callable[[Path], str] = sqlite_url


def open_database(folder: Path) -> Database:
    """Return the migrated database of a test's folder: an SQLite file or a PostgreSQL database."""
    url = database_url(folder)
    if url == sqlite_url(folder) and not (file := Path(url.removeprefix("sqlite:///"))).exists():
        file.touch(mode=0o600)
        file.write_bytes(_migrated_sqlite())
    return Database(url)


@cache
def _migrated_sqlite() -> bytes:
    """Return the path of a migrated SQLite file to copy, because migrating once per test is slow."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(sqlite_url(Path(folder)))
        database.upgrade()
        with database.begin() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar_one() == 1
        database.close()  # the last connection merges the WAL into the file
        return (Path(folder) / "watcher.db").read_bytes()


def add_merchant(database: Database, *, merchant_id: str = MERCHANT, recipient: str = SHOP) -> None:
    """Store a merchant and watch its recipient."""
    with database.begin() as connection:
        row = {"id": merchant_id, "name": "Shop", "recipient": recipient, "status": "active"}
        connection.execute(insert(merchant).values(**row, created_at=0, updated_at=0))
        intent_store.watch(connection, recipient, merchant_id)


def add_intents(
    database: Database, intents: Sequence[Intent], *, settler: Settler = SETTLER, now: float = 0.0
) -> None:
    """Store intents unchanged and settle them at the cursor."""
    with database.begin() as connection:
        for intent in intents:
            key = reference_key(intent.reference, generated=intent.reference_generated)
            keys = intent_keys(intent.reference, intent.terms_hash, generated=intent.reference_generated)
            intent_store.add_intents(connection, [(intent, keys, key)])
        cursor = chain_state.load_cursor(connection, lock=True)
        clock = cursor.clock if cursor is not None else BEFORE_THE_CHAIN
        settler.settle(connection, {intent.id for intent in intents}, clock, now=now)


def make_ledger(database: Database, clock: Clock, *, settler: Settler = SETTLER) -> Ledger:
    """Return a ledger that uses a test's clock."""
    return Ledger(database, RULES, settler, now=clock)


def make_indexer(
    ledger: Ledger,
    urls: Sequence[str],
    clock: Clock,
    *,
    finality: int = 6,
    poll_interval: float = 5.0,
    start_height: int | None = None,
) -> tuple[IndexerLoop, SourcePool]:
    """Return the indexer loop over real HTTP; its waits only move the test's clock."""
    pool = SourcePool(
        [StacksApi(url, user_agent="test") for url in urls], clock=clock, sleep=clock.sleep, rng=lambda: 0.5
    )
    follower = Follower(
        pool,
        HeaderWindow(),
        WATCHED,
        poll_interval=poll_interval,
        finality_burn_blocks=finality,
        interests=StoredInterests(ledger.database, RULES),
        clock=clock,
    )
    following = IndexerLoop(
        ledger,
        follower,
        pool,
        network="mainnet",
        start_height=start_height,
        window_burn_blocks=finality + MARGIN_BURN_BLOCKS,
        poll_interval=poll_interval,
    )
    return following, pool


async def until(condition: Callable[[], bool], *, within: float = 30.0) -> None:
    """Poll until another process has made a condition true."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def check_day_counts(connection: Connection) -> None:
    """Fail unless the counters of days of each merchant and link are what counting all intents anew gives."""
    counted = [(None, day_counts.counted(row)) for row in connection.execute(select(intent)).mappings()]
    for table, owner in ((day_count, BY_MERCHANT), (payment_link_day, BY_LINK)):
        names = [*(column.name for column in table.primary_key), *DayCount.__dataclass_fields__]
        rows = connection.execute(select(*(table.c[name] for name in names)))
        stored = {DayKey(*row[:3]): DayCount(*row[3:]) for row in rows}
        anew = changes(counted, owner)
        assert {key: count for key, count in stored.items() if count != DayCount()} == anew


def without(intent: Intent, **changes: Any) -> Intent:
    """Return the intent with fields replaced."""
    return dataclasses.replace(intent, **changes)
