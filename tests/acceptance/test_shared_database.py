"""Leader, standby and notifier processes on one PostgreSQL database, killed and frozen at bad moments."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from sqlalchemy import select

from chain.testing import principal, txs
from chain.testing.tx import Tx
from notifier.schema import event
from notifier.testing import Answer
from tests import harness
from tests.deployment import PROGRAM, ROOT, Deployment
from tests.postgresql import Server
from watcher.domain.model import Intent
from watcher.domain.server_info import ServerInfo
from watcher.indexer.leader import Lease, current_holder
from watcher.services import queries
from watcher.store.database import Database

pytestmark = pytest.mark.usefixtures("on_postgresql")

PAYER = principal("payer")


@pytest.fixture
def database(deployment: Deployment) -> Iterator[Database]:
    """The shared database, with a merchant."""
    opened = harness.open_database(deployment.folder)
    harness.add_merchant(opened)
    yield opened
    opened.close()


def pay(intent: Intent) -> Tx:
    return txs.sbtc_transfer(
        PAYER, intent.recipient, intent.amount, intent.reference.encode(), label=intent.id
    )


async def add_endpoint(deployment: Deployment, path: str) -> None:
    added = await deployment.json(
        "endpoints", "add", deployment.receiver.url(path), "--merchant", harness.MERCHANT
    )
    deployment.receiver.trust(added["secret"], path)


def add_intents(database: Database, count: int) -> list[Intent]:
    now = int(time.time())
    intents = [harness.intent_record(f"order{number}", created_at=now) for number in range(count)]
    harness.add_intents(database, intents, now=now)
    return intents


async def start_follower(deployment: Deployment) -> asyncio.subprocess.Process:
    program = "tests.acceptance.freezing_daemon"
    return await deployment.start(sys.executable, "-m", program, str(deployment.folder / "armed"))


async def start_notifier(deployment: Deployment) -> asyncio.subprocess.Process:
    return await deployment.start(*PROGRAM, "run", "--role", "notifier")


async def led_by(database: Database, process: asyncio.subprocess.Process) -> int:
    """Wait until this process has the lease; return its epoch."""
    epochs: list[int] = []

    def led() -> bool:
        with database.read() as connection:
            found = current_holder(connection)
        if found is not None and found.holder.endswith(f":{process.pid}") and found.remaining:
            epochs.append(found.epoch)
        return bool(epochs)

    await harness.until(led)
    return epochs[0]


async def logged(deployment: Deployment, name: str) -> None:
    """Wait until the processes' common log has an entry of this name."""
    await harness.until(lambda: name in (deployment.folder / "daemon.log").read_text())


async def told_once(deployment: Deployment, database: Database, intent: Intent) -> None:
    """Assert that the intent succeeded and the merchant got the event once."""
    await deployment.receiver.wait_for(1, within=30)
    with database.read() as connection:
        shown = queries.intent(connection, intent.id, server_info=ServerInfo(network="mainnet"))
        events = list(connection.execute(select(event.c.type).order_by(event.c.sequence)).scalars())
    assert (shown["status"], len(shown["transfers"])) == ("succeeded", 1)
    assert events == ["payment.created", "payment.succeeded"]
    assert [arrival.document["type"] for arrival in deployment.receiver.arrivals] == ["payment.succeeded"]
    assert deployment.receiver.arrivals[0].refused is None


async def test_a_standby_takes_over_from_a_killed_leader_and_tells_once(
    deployment: Deployment, database: Database
) -> None:
    await add_endpoint(deployment, "/hook")
    leader = await start_follower(deployment)
    assert await led_by(database, leader) == 1
    await deployment.caught_up()
    standby = await start_follower(deployment)
    await start_notifier(deployment)
    await logged(deployment, "lease.waiting")
    [intent] = add_intents(database, 1)
    leader.kill()
    deployment.chain.mine([pay(intent)])
    assert await led_by(database, standby) == 2
    await deployment.caught_up()
    await told_once(deployment, database, intent)
    status = await deployment.json("status")
    assert status["follower"]["holder"].endswith(f":{standby.pid}")
    standby.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(standby.wait(), 10) == 0


@pytest.mark.parametrize("in_a_step", [False, True])
async def test_a_frozen_leader_wakes_up_as_standby_and_commits_nothing(
    deployment: Deployment, database: Database, in_a_step: bool
) -> None:
    """Between two steps, and right before a commit: the standby then does that step."""
    await add_endpoint(deployment, "/hook")
    frozen = await start_follower(deployment)
    assert await led_by(database, frozen) == 1
    await deployment.caught_up()
    standby = await start_follower(deployment)
    await start_notifier(deployment)
    await logged(deployment, "lease.waiting")
    [intent] = add_intents(database, 1)
    if in_a_step:
        (deployment.folder / "armed").touch()
        deployment.chain.mine([pay(intent)])
        await harness.until(lambda: not (deployment.folder / "armed").exists())
    else:
        frozen.send_signal(signal.SIGSTOP)
        deployment.chain.mine([pay(intent)])
    assert await led_by(database, standby) == 2
    await deployment.caught_up()
    frozen.send_signal(signal.SIGCONT)
    await logged(deployment, "lease.lost")
    deployment.chain.mine(n=2)
    await deployment.caught_up()
    await told_once(deployment, database, intent)
    assert await led_by(database, standby) == 2, "it must not be taken back"
    # Both live, and swap roles again when the leader stops.
    standby.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(standby.wait(), 10) == 0
    assert await led_by(database, frozen) == 3
    deployment.chain.mine()
    await deployment.caught_up()
    await told_once(deployment, database, intent)


async def test_several_notifiers_send_each_delivery_once(deployment: Deployment, database: Database) -> None:
    """Including slow and failing endpoints: no delivery is sent by two processes at once."""
    for path in ("/fast", "/slow", "/failing"):
        await add_endpoint(deployment, path)
    intents = add_intents(database, 40)
    slow = asyncio.Event()
    deployment.receiver.plan(*[Answer(gate=slow)] * 4, path="/slow")
    deployment.receiver.plan(*[Answer(status=500)] * 5, path="/failing")
    notifiers = [await start_notifier(deployment) for _ in range(3)]
    await deployment.cli("run", "--once", "--role", "follower")
    deployment.chain.mine([pay(intent) for intent in intents])
    await deployment.cli("run", "--once", "--role", "follower")
    await deployment.receiver.wait_for(40, path="/fast", within=30)
    slow.set()
    await deployment.receiver.wait_for(45, path="/failing", within=30)
    await deployment.receiver.wait_for(40, path="/slow", within=30)
    for notifier in notifiers:
        notifier.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(notifier.wait(), 15) == 0
    for path, repeated in (("/fast", 0), ("/slow", 0), ("/failing", 5)):
        counts = Counter(arrival.id for arrival in deployment.receiver.at(path))
        assert (len(counts), sum(counts.values())) == (40, 40 + repeated), path
    assert {arrival.refused for arrival in deployment.receiver.arrivals} == {None}


async def test_an_outage_ends_run_once_in_one_line_while_it_waits_for_the_lease(
    deployment: Deployment, database: Database, postgresql_server: Server
) -> None:
    """Exit code 3, and no traceback."""
    assert Lease(database).acquire()
    process = await deployment.start(*PROGRAM, "run", "--once")
    await logged(deployment, "service.started")
    with postgresql_server.cut_off(deployment.environment["SBTC_WATCHER_DATABASE_URL"]):
        assert await asyncio.wait_for(process.wait(), 60) == 3
        assert "does not answer" in (log := (deployment.folder / "daemon.log").read_text())
        assert "Traceback" not in log


#: Command lines that need the database, with or without a running daemon.
COMMANDS = (
    "run --once",
    "status",
    "check",
    "reindex --from 1",
    "reindex --from 1 --accept-reorg --reason x",
    "merchants list",
    "db upgrade",
    "db current",
    "db prune",
)


async def test_every_command_says_in_one_line_that_the_database_is_down(
    deployment: Deployment, database: Database, postgresql_server: Server
) -> None:
    url = deployment.environment["SBTC_WATCHER_DATABASE_URL"]
    with postgresql_server.cut_off(url):
        for command in COMMANDS:
            process = await asyncio.create_subprocess_exec(
                *PROGRAM,
                *command.split(),
                env=deployment.environment,
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
            assert "Traceback" not in out, command
            assert (process.returncode, "does not answer" in out) == (3, True), (command, out)


@pytest.mark.parametrize("command", ["run --once", "reindex --from 1"])
async def test_an_outage_in_the_middle_ends_a_command_in_one_line(
    deployment: Deployment, database: Database, postgresql_server: Server, command: str
) -> None:
    await deployment.cli("run", "--once")
    deployment.chain.mine(n=3)
    with ExitStack() as stack:
        cut = partial(
            stack.enter_context,
            postgresql_server.cut_off(deployment.environment["SBTC_WATCHER_DATABASE_URL"]),
        )
        deployment.api.before("transactions" if command.startswith("run") else "block", lambda _: cut())
        process = await deployment.start(*PROGRAM, *command.split())
        assert await asyncio.wait_for(process.wait(), 60) == 3
    log = (deployment.folder / "daemon.log").read_text()
    assert "Traceback" not in log
    assert "not currently accepting connections" in log or "terminating connection" in log
