"""Upgrades keep what an older version stored: nothing that was found before is lost."""

import re
from typing import Any

from alembic import command
from sqlalchemy import Row, select, text, update

from chain.testing import txs
from tests import harness
from tests.integration.watcher.indexer.refunds import back, pay, reasons
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.store import intents as intent_store
from watcher.store import schema
from watcher.store.database import alembic_config


def test_what_ended_with_money_is_due_after_the_next_block(fixture: LedgerFixture) -> None:
    """Intents that ended before the flag existed get it, others are left alone, and no event is sent."""
    part, paid, empty = fixture.create(), fixture.create(), fixture.create()
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 12_345, fixture.memo(part)),
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)),
    )
    fixture.cancel(part)
    fixture.cancel(empty)
    sent = fixture.sent_events(part)
    with fixture.database.begin() as connection:
        connection.execute(update(schema.intent).values(flags=[]))
    go_back(fixture, "0002")
    fixture.database.upgrade()
    with fixture.database.read() as connection:
        due = select(schema.intent.c.id).where(schema.intent.c.wake_time == 0)
        assert connection.execute(due).scalars().all() == [part]
    fixture.mine()
    assert (fixture.show(part)["flags"], fixture.sent_events(part)) == (["refund_due"], sent)
    assert fixture.show(paid)["flags"] == fixture.show(empty)["flags"] == []
    with fixture.database.read() as connection:
        assert connection.execute(due).scalars().all() == []


def go_back(fixture: LedgerFixture, revision: str) -> None:
    with fixture.database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def rows(fixture: LedgerFixture, table: Any) -> set[Row[Any]]:
    with fixture.database.read() as connection:
        return set(connection.execute(select(table)))


def test_keys_of_an_older_version_are_those_that_are_looked_for_now(fixture: LedgerFixture) -> None:
    """Hashes that begin with a zero byte, and padded references in memos, are found after an upgrade."""
    digest = b"\0\1" + bytes(range(2, 32))
    zero, plain = fixture.create(), fixture.create(reference="inv-7")
    with fixture.database.begin() as connection:
        connection.execute(update(schema.intent).where(schema.intent.c.id == zero).values(terms_hash=digest))
        connection.execute(
            update(schema.label)
            .where(schema.label.c.intent_id == zero, schema.label.c.key.like("t:%"))
            .values(key=f"t:{digest.hex()}")
        )
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, b"\xef\xbb\xbforder-1\n"),
        txs.sbtc_transfer(PAYER, SHOP, 50_001, b"order-2"),
        txs.sbtc_transfer(PAYER, SHOP, 50_002),
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_003, expires_at=1, salt=bytes(16)),
    )
    keys = rows(fixture, schema.stray)
    with fixture.database.begin() as connection:
        connection.execute(text("DELETE FROM stray WHERE key LIKE 'r:%' OR key LIKE 'g:%'"))
    go_back(fixture, "0001")
    fixture.database.upgrade()
    assert rows(fixture, schema.stray) == keys
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, digest), txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-7\r\n")
    )
    assert (fixture.status(zero), fixture.status(plain)) == ("succeeded", "succeeded")
    assert fixture.status(fixture.create(reference="order-1")) == "succeeded"


def test_refunds_that_an_older_version_noted_are_not_noted_again(fixture: LedgerFixture) -> None:
    """Their notes get subjects from their sentences; an operator's sentences that look alike get none."""
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    first, second = back(fixture, intent, 20_000), back(fixture, intent, 10_000)
    fixture.mine(first, second)
    fixture.fork(1, [[], [second]])
    fixture.mark(intent, "succeeded", "refunded 20000 by hand")
    fixture.clock.now += 1
    fixture.mark(intent, "failed", f"refunded 10000 by {second.tx_id}")
    stored, shown = rows(fixture, schema.transition), reasons(fixture, intent)
    go_back(fixture, "0008")
    fixture.database.upgrade()
    assert rows(fixture, schema.transition) == stored
    assert sorted(subject for *_, subject in stored if subject) == sorted(
        [
            f"refund:{first.tx_id}=20000",
            f"refund:{second.tx_id}=10000",
            f"refund_undone:{first.tx_id}=20000",
        ]
    )
    fixture.mine(back(fixture, intent, 1))
    assert reasons(fixture, intent)[: len(shown)] == shown
    assert len(reasons(fixture, intent)) == len(shown) + 1


def test_intents_of_an_older_version_get_a_checkout(fixture: LedgerFixture) -> None:
    """Each existing intent gets a token of its own, by which it is found; merchants have no brand yet."""
    intents = [fixture.create() for _ in range(3)]
    go_back(fixture, "0012")
    fixture.database.upgrade()
    with fixture.database.read() as connection:
        stored = intent_store.load_intents(connection, intents)
        tokens = [stored[key].checkout_token for key in intents]
        found = [intent_store.find_by_token(connection, token or "") for token in tokens]
        origins = connection.execute(select(schema.merchant.c.allowed_origins)).scalars().all()
    assert [row and row["id"] for row in found] == intents
    assert len(set(tokens)) == 3
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", token or "") for token in tokens)
    assert origins == [[]] * len(origins)


def test_days_of_an_older_version_are_counted(fixture: LedgerFixture) -> None:
    """Statistics begin with what was paid before they existed."""
    paid, open_ = fixture.create(expires_in=200_000), fixture.create(expires_in=200_000)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)), seconds=90_000)
    fixture.cancel(fixture.create())
    counts = rows(fixture, schema.day_count)
    assert len(counts) == 2
    go_back(fixture, "0014")
    fixture.database.upgrade()
    assert rows(fixture, schema.day_count) == counts
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(open_)))
    with fixture.database.read() as connection:
        harness.check_day_counts(connection)


def test_what_expired_without_any_money_is_counted_by_an_upgrade(fixture: LedgerFixture) -> None:
    """Also of intents from before: those that got a part, or were paid, are none."""
    part, paid, _ = (fixture.create() for _ in range(3))
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 5, fixture.memo(part)),
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)),
    )
    fixture.create(expires_in=500_000)
    fixture.pass_time(10_000)
    go_back(fixture, "0017")
    fixture.database.upgrade()
    [count] = rows(fixture, schema.day_count)
    assert (count.expired, count.abandoned) == (2, 1)
    with fixture.database.read() as connection:
        harness.check_day_counts(connection)


def test_intents_of_an_older_version_are_found_by_their_metadata(fixture: LedgerFixture) -> None:
    """An upgrade takes in what existing intents say, as a new intent does."""
    for metadata in ({}, {"order_id": "7"}, {"a": " Ä ", "b": "ä", "c": "", "d": "ß"}):
        fixture.create(metadata=metadata)
    stored = rows(fixture, schema.intent_text)
    assert len(stored) == 3
    go_back(fixture, "0015")
    fixture.database.upgrade()
    assert rows(fixture, schema.intent_text) == stored


def test_the_order_of_operator_actions_is_kept(fixture: LedgerFixture) -> None:
    """Actions of an older version are numbered by their ids; the newest mark still wins, then a new one."""
    intent = fixture.create()
    for status in ("failed", "succeeded", "failed"):
        fixture.mark(intent, status)
        fixture.clock.now += 1
    stored = rows(fixture, schema.act)
    assert sorted(row.sequence for row in stored) == [1, 2, 3]
    go_back(fixture, "0010")
    fixture.database.upgrade()
    assert rows(fixture, schema.act) == stored
    fixture.clock.now -= 3600
    fixture.mark(intent, "succeeded")
    fixture.mine()
    assert fixture.status(intent) == "succeeded"
