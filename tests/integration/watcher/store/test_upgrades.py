"""What an upgrade makes of the rows that an older version stored: nothing that was found before is lost."""

from typing import Any

from alembic import command
from sqlalchemy import select, text, update

from chain.testing import txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, World
from watcher.store import schema
from watcher.store.database import alembic_config


def test_what_ended_with_money_is_due_after_the_next_block(world: World) -> None:
    """Intents that ended before the flag was known get it, others are left alone, and nothing is told."""
    part, paid, empty = world.create(), world.create(), world.create()
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 12_345, world.memo(part)),
        txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(paid)),
    )
    world.cancel(part)
    world.cancel(empty)
    told = world.told(part)
    with world.database.begin() as connection:
        connection.execute(update(schema.intent).values(flags=[]))
    go_back(world, "0002")
    world.database.upgrade()
    with world.database.read() as connection:
        due = select(schema.intent.c.id).where(schema.intent.c.wake_time == 0)
        assert connection.execute(due).scalars().all() == [part]
    world.mine()
    assert (world.show(part)["flags"], world.told(part)) == (["refund_due"], told)
    assert world.show(paid)["flags"] == world.show(empty)["flags"] == []
    with world.database.read() as connection:
        assert connection.execute(due).scalars().all() == []


def go_back(world: World, revision: str) -> None:
    with world.database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def rows(world: World, table: Any) -> set[tuple[Any, ...]]:
    with world.database.read() as connection:
        return {tuple(row) for row in connection.execute(select(table))}


def test_keys_of_an_older_version_are_those_that_are_looked_for_now(world: World) -> None:
    """Hashes that begin with a zero byte, and memos with something around the reference, are found after an upgrade."""
    digest = b"\0\1" + bytes(range(2, 32))
    zero, plain = world.create(), world.create(reference="inv-7")
    with world.database.begin() as connection:
        connection.execute(update(schema.intent).where(schema.intent.c.id == zero).values(terms_hash=digest))
        connection.execute(
            update(schema.label)
            .where(schema.label.c.intent_id == zero, schema.label.c.key.like("t:%"))
            .values(key=f"t:{digest.hex()}")
        )
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, b"\xef\xbb\xbforder-1\n"),
        txs.sbtc_transfer(PAYER, SHOP, 50_001, b"order-2"),
        txs.sbtc_transfer(PAYER, SHOP, 50_002),
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_003, expires_at=1, salt=bytes(16)),
    )
    spoken = rows(world, schema.stray)
    with world.database.begin() as connection:
        connection.execute(text("DELETE FROM stray WHERE key LIKE 'r:%' OR key LIKE 'g:%'"))
    go_back(world, "0001")
    world.database.upgrade()
    assert rows(world, schema.stray) == spoken
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, digest), txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-7\r\n")
    )
    assert (world.status(zero), world.status(plain)) == ("succeeded", "succeeded")
    assert world.status(world.create(reference="order-1")) == "succeeded"
