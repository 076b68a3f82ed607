"""What concerns the stored intents, and that every way to read a chain stores the same facts of it."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from chain import directed
from chain.clarity import Buffer, UInt, encode
from chain.testing import ScriptedApi, ScriptedChain, Tx, principal, txs
from notifier.schema import event
from tests import harness
from watcher.indexer import interests
from watcher.indexer.interests import StoredInterests
from watcher.store.database import Database
from watcher.store.schema import attempt, intent, refund, reorg, transfer

START = 1_800_000_000
PAYER, STRANGER, DEDICATED = principal("payer"), principal("stranger"), principal("dedicated")

PLAIN = harness.intent_record("plain", created_at=START)
OWN = harness.intent_record("own", created_at=START, recipient=DEDICATED, match="recipient", reference="OWN")
IN_STX = harness.intent_record("stx", created_at=START, asset="stx", asset_identifier="STX", amount=7_000)


@pytest.fixture
def database(tmp_path: Path, backend: str) -> Any:
    """A database with three intents that wait."""
    made = prepared(tmp_path)
    yield made
    made.close()


def prepared(folder: Path) -> Database:
    folder.mkdir(exist_ok=True)
    made = harness.open_database(folder)
    harness.add_merchant(made)
    harness.add_intents(made, [PLAIN, OWN, IN_STX])
    return made


async def test_recipients_are_those_that_are_watched_and_none_when_they_are_too_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merchant's, and those of intents; beyond the limit everything is read."""
    found = StoredInterests(database, harness.RULES)
    assert await found.recipients() == {harness.SHOP, DEDICATED}
    monkeypatch.setattr(interests, "MAX_RECIPIENTS", 1)
    assert await found.recipients() is None


async def test_prints_with_a_known_label_concern_us_in_every_form_of_the_label(database: Database) -> None:
    """As the matcher compares them; of the payment contract every print does."""
    found = StoredInterests(database, harness.RULES)
    prints = {
        "0x1": [encode(Buffer(b" plain\0"))],
        "0x2": [encode(Buffer(PLAIN.terms_hash))],
        "0x3": [encode(Buffer(b"somebody else's")), encode(UInt(1)), b"\xff"],
        "0x4": [],
    }
    token = harness.MAINNET.sbtc_contract
    assert await found.labelled(token, prints) == {"0x1", "0x2"}
    assert await found.labelled(token, {}) == frozenset()
    assert await found.labelled(harness.PAYMENT_CONTRACT, prints) == set(prints)


async def test_without_the_database_everything_is_read(database: Database) -> None:
    """It is no failure of a source; the commit that follows says what is wrong."""
    found = StoredInterests(database, harness.RULES)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE recipient RENAME TO recipient_gone")
        connection.exec_driver_sql("ALTER TABLE label RENAME TO label_gone")
        connection.exec_driver_sql("ALTER TABLE transfer RENAME TO transfer_gone")
    prints = {"0x1": [encode(Buffer(b"plain"))], "0x2": [encode(UInt(1))]}
    assert await found.recipients() is None
    assert await found.labelled(harness.MAINNET.sbtc_contract, prints) == set(prints)
    assert await found.stored(frozenset({"0x1"})) == frozenset()


def block_txs(number: int) -> list[Tx]:
    """Payments of every route, failed ones, a refund, and a crowd of strangers."""
    label = str(number)
    memo = PLAIN.reference.encode()
    crowd = [
        txs.sbtc_transfer(STRANGER, principal(f"other {index}"), 1 + index, b"x", label=label)
        for index in range(6)
    ]
    return [
        *crowd,
        txs.sbtc_transfer(PAYER, harness.SHOP, 10 + number, memo, label=label),
        txs.sbtc_transfer(PAYER, harness.SHOP, 20 + number, label=label),
        txs.sbtc_transfer(PAYER, STRANGER, 30 + number, memo, label=label),
        txs.sbtc_transfer(PAYER, DEDICATED, 40 + number, label=label),
        txs.peg_in(DEDICATED, 50 + number, label=label),
        txs.sbtc_transfer(PAYER, harness.SHOP, 60 + number, memo, label=f"failed {label}").failed(),
        txs.stx_transfer(PAYER, harness.SHOP, 70 + number, b"STX", label=label),
        txs.stx_send_many(PAYER, [(harness.SHOP, 80 + number, b"STX")], label=label),
        txs.contract_payment(
            harness.PAYMENT_CONTRACT,
            PAYER,
            harness.SHOP,
            PLAIN.amount,
            expires_at=PLAIN.expires_at,
            salt=PLAIN.salt,
            label=label,
        ),
        txs.contract_refund(
            harness.PAYMENT_CONTRACT,
            harness.SHOP,
            PAYER,
            90 + number,
            intent_id=PLAIN.terms_hash,
            label=label,
        ),
    ]


def facts(database: Database) -> dict[str, Any]:
    """Everything stored of the chain, and what was made of it, without ids and clock times."""
    moved = transfer.c
    with database.read() as connection:
        rows = connection.execute(
            select(
                *(moved.block_hash, moved.tx_id, moved.rank, moved.asset, moved.sender, moved.recipient),
                *(moved.amount, moved.route, moved.memo, moved.terms_hash, moved.canonical, moved.intent_id),
                moved.reason,
            )
        ).all()
        tried = connection.execute(select(attempt.c.tx_id, attempt.c.block_hash, attempt.c.intent_id)).all()
        returned = connection.execute(select(refund.c.tx_id, refund.c.block_hash, refund.c.amount)).all()
        states = connection.execute(
            select(intent.c.id, intent.c.status, intent.c.received, intent.c.refunded)
        ).all()
        told = connection.execute(select(event.c.type, event.c.subject)).all()
    return {
        "transfers": sorted(map(repr, rows)),
        "attempts": sorted(map(repr, tried)),
        "refunds": sorted(map(repr, returned)),
        "intents": sorted(map(repr, states)),
        "events": sorted(map(repr, told)),
    }


async def told(folder: Path, versions: list[str], *, by_lists: bool) -> dict[str, Any]:
    """Follow one history, with reorgs, on a server that is of these versions one after the other."""
    database, clock = prepared(folder), harness.Clock(START)
    chain = ScriptedChain(keep="instant", time=START)
    async with ScriptedApi(chain, version=versions[0], ping_interval=None) as api:
        following, pool = harness.make_indexer(harness.make_ledger(database, clock), [api.url], clock)
        numbers = count()

        async def settle() -> None:
            for _ in range(20):
                clock.now += 61
                await following.poll()
                cursor = following._ledger.cursor()
                if cursor is not None and cursor.clock.hash == chain.tip.hash:
                    return
            raise AssertionError("not caught up")

        await settle()
        for version in versions:
            api.become(version)
            first = chain.mine(block_txs(next(numbers)), burn=True)
            chain.mine(block_txs(next(numbers)))
            await settle()
            sibling = block_txs(next(numbers))
            chain.fork(first.height).mine([sibling[6].failed(), *sibling[7:]])
            await settle()
            chain.fork(first.height - 1).mine(block_txs(next(numbers)))
            await settle()
            chain.fork(first.hash).mine(block_txs(next(numbers)), n=2)
            await settle()
        await pool.aclose()
        assert bool(api.counts["ft_transfers"]) is (by_lists and versions[-1] == "sunset")
    found = facts(database)
    database.close()
    return found


@pytest.mark.parametrize("by_lists", [True, False], ids=["by lists", "one by one"])
async def test_every_way_to_read_stores_the_same_facts(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch, by_lists: bool
) -> None:
    """A switch in the middle of a history changes nothing but the requests."""
    monkeypatch.setattr(directed, "pays", lambda *_: by_lists)
    usual = await told(tmp_path / "usual", ["9.0"] * 4, by_lists=by_lists)
    assert all(usual.values())
    assert len(usual["transfers"]) > 100
    for name, versions in {
        "later": ["9.7"] * 4,
        "sunset": ["sunset"] * 4,
        "switching": ["9.0", "9.1", "9.7", "sunset"],
    }.items():
        assert await told(tmp_path / name, versions, by_lists=by_lists) == usual


async def test_a_payment_that_a_late_list_hid_is_stored_soon_and_told_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block is applied again in one transaction; what it had before stays, and is told once too."""
    monkeypatch.setattr(directed, "pays", lambda *_: True)
    chain, clock = ScriptedChain(keep="instant", time=START), harness.Clock(START)
    in_stx = txs.stx_transfer(PAYER, harness.SHOP, 7_000, b"STX")
    hidden = txs.sbtc_transfer(PAYER, harness.SHOP, PLAIN.amount, PLAIN.reference.encode())

    def late(route: str, body: Any) -> Any:
        return {**body, "results": []} if route in ("ft_transfers", "contract_logs") else body

    async with ScriptedApi(chain, version="sunset", ping_interval=None) as api:
        following, pool = harness.make_indexer(harness.make_ledger(database, clock), [api.url], clock)
        await following.poll()
        await following._follower._pool._sources[0].api.probe()
        api.faults.tamper = late
        paid = chain.mine([in_stx, hidden], burn=True)
        clock.now += 5
        await following.poll()
        assert {row.intent_id for row in stored(database)} == {IN_STX.id}
        api.faults.tamper = None
        for _ in range(3):
            chain.mine(burn=True)
            clock.now += 61
            await following.poll()
        await pool.aclose()
    rows = stored(database)
    assert {(row.intent_id, row.block_hash, row.canonical) for row in rows} == {
        (IN_STX.id, paid.hash, True),
        (PLAIN.id, paid.hash, True),
    }
    with database.read() as connection:
        told = connection.execute(select(event.c.intent, event.c.type)).all()
    succeeded = sorted(row.intent for row in told if row.type == "payment.succeeded")
    assert succeeded == sorted([PLAIN.id, IN_STX.id])


async def test_a_restart_forgets_no_late_list(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process holds the newest blocks against the lists as well; what is stored is read once."""
    monkeypatch.setattr(directed, "pays", lambda *_: True)
    chain, clock = ScriptedChain(keep="instant", time=START), harness.Clock(START)
    seen = txs.sbtc_transfer(PAYER, DEDICATED, 5)
    hidden = txs.sbtc_transfer(PAYER, harness.SHOP, PLAIN.amount, PLAIN.reference.encode())
    out = txs.sbtc_transfer(harness.SHOP, STRANGER, 5)

    def late(route: str, body: Any) -> Any:
        return {**body, "results": []} if route in ("ft_transfers", "contract_logs") else body

    async with ScriptedApi(chain, version="sunset", ping_interval=None) as api:
        for restarted in (False, True):
            following, pool = harness.make_indexer(harness.make_ledger(database, clock), [api.url], clock)
            if not restarted:
                await following.poll()
                await following._follower._pool._sources[0].api.probe()
                chain.mine([seen])
                clock.now += 5
                await following.poll()
                api.faults.tamper = late
                paid = chain.mine([out, hidden], burn=True)
                clock.now += 5
                await following.poll()
                assert {row.tx_id for row in stored(database)} == {seen.tx_id}
                api.faults.tamper = None
            else:
                await following.poll()
                await following._follower._pool._sources[0].api.probe()
                for number in range(4):
                    chain.mine([txs.sbtc_transfer(PAYER, STRANGER, 1, label=str(number))], burn=True)
                    clock.now += 61
                    await following.poll()
            await pool.aclose()
    assert {(row.tx_id, row.block_hash) for row in stored(database) if row.canonical} >= {
        (hidden.tx_id, paid.hash)
    }
    with database.read() as connection:
        reorgs = connection.execute(select(reorg.c.orphaned_blocks)).scalars().all()
    assert len(reorgs) == 1, "a transfer that is stored, or one of our own, is no reason to read again"


def stored(database: Database) -> Any:
    """The rows of transfers."""
    with database.read() as connection:
        return connection.execute(select(transfer)).all()
