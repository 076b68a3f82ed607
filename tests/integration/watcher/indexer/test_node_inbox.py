"""What a node posts is stored before it is answered, once, in any order, and only the newest is kept."""

import asyncio
import dataclasses
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from chain.model import BlockHeader
from chain.node import receiver as receiver_module
from chain.node.inbox import Added, Inbox
from chain.node.observer import HostAddresses, Observer, normalized
from chain.node.receiver import Receiver
from chain.testing import ScriptedChain, node_payloads, principal, txs
from chain.testing.node import SimulatedNode
from tests import harness
from watcher.cli.checks import check_database
from watcher.config.settings import Settings
from watcher.indexer.node_inbox import NodeInbox
from watcher.store import node_posts
from watcher.store.database import Database
from watcher.store.node_schema import node_post

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture
def database(tmp_path: Path, backend: str) -> Iterator[Database]:
    """A migrated database."""
    made = harness.open_database(tmp_path)
    yield made
    made.close()


class Wakes:
    """Counts calls."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


@asynccontextmanager
async def observing(receiver: Receiver, **limits: Any) -> AsyncIterator[str]:
    """Serve an observer; yield its ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    observer = Observer(listener, receiver.take, peers=HostAddresses("127.0.0.1"), **limits)
    serving = asyncio.create_task(observer.run(stop))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await serving


async def send(address: str, data: bytes, *, close: bool = False) -> bytes:
    """Send bytes; return the whole answer, nothing from a connection that is cut."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        if close:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


def request(path: str, body: bytes, *, method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


def rows(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(node_post).order_by(node_post.c.id)))


def header(block_hash: str, height: int) -> BlockHeader:
    return dataclasses.replace(ScriptedChain().tip, hash=block_hash, height=height)


def scripted(blocks: int = 3) -> tuple[ScriptedChain, list[dict[str, Any]]]:
    chain = ScriptedChain()
    for n in range(blocks):
        tx = txs.sbtc_transfer(principal("payer"), principal("shop"), 100 + n, b"INV")
        chain.mine([tx], burn=n == 0)
    return chain, [node_payloads.new_block(block) for block in chain.tree]


async def test_every_post_of_a_node_is_stored_and_answered(database: Database) -> None:
    """Blocks, Bitcoin blocks, pending transactions; and the loop is woken for what moves the chain."""
    wake = Wakes()
    chain = ScriptedChain()
    inbox = NodeInbox(database)
    pending = txs.stx_transfer(principal("payer"), principal("shop"), 1)
    async with (
        observing(Receiver(inbox, wake=wake)) as address,
        SimulatedNode(chain, observer=address) as node,
    ):
        chain.add_pending(pending)
        chain.mine(burn=True)
        chain.mine()
        await node.posted()
        node.post("/attachments/new", [])
        await node.posted()
        assert node.answers == [
            ("/new_mempool_tx", 200),
            ("/new_burn_block", 200),
            ("/new_block", 200),
            ("/new_block", 200),
            ("/attachments/new", 200),
        ]
    assert [(row.kind, row.height) for row in rows(database)] == [
        ("mempool_tx", None),
        ("burn_block", chain.tip.burn_height),
        ("block", chain.tip.height - 1),
        ("block", chain.tip.height),
    ]
    assert wake.count == 3
    assert [block.hash for block in await inbox.blocks_after(0)] == [chain.tip.parent_hash, chain.tip.hash]
    assert await inbox.pending() == [(pending.tx_id, pending.raw)]


@pytest.mark.parametrize("folder", ["new_block", "reorg"])
async def test_recorded_blocks_come_back_as_they_were_posted(database: Database, folder: str) -> None:
    """The body that is read is the body that came."""
    bodies = [path.read_bytes() for path in sorted((DATA / "simnet" / folder).glob("*.json"))]
    inbox = NodeInbox(database)
    receiver = Receiver(inbox)
    for body in bodies:
        await receiver.take("/new_block", body)
    assert [await inbox.body(block.hash) for block in await inbox.blocks_after(0)] == bodies
    assert await inbox.put_aside() is None


async def test_a_repeated_post_changes_nothing(database: Database) -> None:
    """A node repeats what it got no answer for."""
    _, bodies = scripted()
    inbox = NodeInbox(database)
    receiver = Receiver(inbox)
    for body in [*bodies, *bodies[::-1]]:
        await receiver.take("/new_block", json.dumps(body).encode())
        await receiver.take("/new_burn_block", json.dumps(node_payloads.new_burn_block(body)).encode())
        await receiver.take("/new_mempool_tx", b'["0x80"]')
    assert [row.kind for row in rows(database)].count("block") == len(bodies)
    assert {row.problem for row in rows(database)} == {None}


async def test_a_block_told_again_in_another_order_is_the_same(database: Database) -> None:
    """A node that processes a block once more shuffles its events."""
    _, bodies = scripted()
    inbox = NodeInbox(database)
    receiver = Receiver(inbox)
    body = bodies[-1]
    await receiver.take("/new_block", json.dumps(body).encode())
    await receiver.take("/new_block", json.dumps({**body, "events": body["events"][::-1]}).encode())
    assert await inbox.body(body["index_block_hash"]) == json.dumps(body).encode()
    assert await inbox.put_aside() is None


async def test_two_bodies_that_contradict_each_other_are_both_disbelieved(database: Database) -> None:
    """Something else posts to the observer: a person is told, and the block is read in another way."""
    _, bodies = scripted()
    inbox = NodeInbox(database)
    receiver = Receiver(inbox)
    body = bodies[-1]
    forged = json.loads(json.dumps(body).replace('"102"', '"999"'))
    for told in (forged, body, body, forged):
        await receiver.take("/new_block", json.dumps(told).encode())
    assert await inbox.body(body["index_block_hash"]) is None
    aside = await inbox.put_aside()
    assert aside is not None
    assert (aside.count, aside.reason) == (1, node_posts.CONTRADICTED)


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"transactions": []}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 5000,
    json.dumps({"block_height": 10**400}).encode(),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_post_that_cannot_be_read_is_answered_and_kept(database: Database, body: bytes) -> None:
    """A node must not be stopped by one block for ever."""
    wake = Wakes()
    inbox = NodeInbox(database, now=lambda: 1_800_000_000.0)
    async with observing(Receiver(inbox, wake=wake)) as address:
        assert status_of(await send(address, request("/new_block", body))) == 200
        assert status_of(await send(address, request("/new_block", body))) == 200
    aside = await inbox.put_aside()
    assert aside is not None
    assert (aside.count, aside.at) == (1, 1_800_000_000)
    assert aside.reason.startswith("/new_block: ")
    assert wake.count == 2


@given(
    body=st.binary(max_size=60),
    path=st.sampled_from(["/new_block", "/new_burn_block", "/new_mempool_tx", "/drop_mempool_tx", "/x"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_post_is_taken(database: Database, body: bytes, path: str) -> None:
    """Whatever the bytes."""
    asyncio.run(Receiver(NodeInbox(database)).take(path, body))


@pytest.mark.parametrize(("days", "told"), [(0.9, True), (1.1, False)])
async def test_check_tells_of_posts_that_were_set_aside_lately(
    database: Database, days: float, told: bool
) -> None:
    """Of older ones nothing is to be done any more."""
    settings = Settings(
        node_url="http://127.0.0.1:20443",
        node_observer_bind="127.0.0.1:3700",
        database_url=database.url.render_as_string(hide_password=False),
    )
    await NodeInbox(database, now=lambda: time.time() - days * 86_400).set_aside("/new_block", b"{", "bad")
    said = [one.text for one in check_database(database, settings) if one.subject == "node"]
    assert [text for text in said if text.startswith("posts set aside: 1, the last 2")] == said[1:]
    assert len(said) == 1 + told


async def test_a_post_that_is_too_large_is_drained_answered_and_noted(database: Database) -> None:
    """The node listens only when it has sent everything."""
    inbox = NodeInbox(database)
    async with observing(Receiver(inbox), max_body=1000) as address:
        assert status_of(await send(address, request("/new_block", b"x" * 5_000_000))) == 200
    [row] = rows(database)
    assert row.problem == "/new_block: it is too large"


async def test_a_post_of_any_size_is_answered() -> None:
    """A contract may print more than a gibibyte in one block; the node would repeat its post for ever."""
    chunk = b"x" * 2**20
    taken: list[bool] = []

    class Taker(Receiver):
        async def take(self, path: str, body: bytes, *, is_whole: bool = True) -> None:
            taken.append(is_whole)

    async with observing(Taker(cast(Inbox, None)), max_body=1000) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /new_block HTTP/1.1\r\nhost: x\r\ncontent-length: {1100 * 2**20}\r\n\r\n".encode()
        )
        for _ in range(1100):
            writer.write(chunk)
            await writer.drain()
        async with asyncio.timeout(10):
            assert status_of(await reader.read()) == 200
        writer.close()
    assert taken == [False]


@pytest.mark.parametrize("value", [b"[]", b"{}", b'"ab"'])
async def test_a_post_of_too_many_values_is_not_even_decoded(
    database: Database, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take up to thirty times the memory of their text: the daemon would be killed, again and again."""
    monkeypatch.setattr(receiver_module, "MAX_DECODED_BYTES", 2**24)
    inbox = NodeInbox(database)
    body = b"[" + b",".join([value] * 300_000) + b"]"
    assert sum(sys.getsizeof(one) + 8 for one in json.loads(body)) > 2**24
    await Receiver(inbox).take("/new_block", body)
    aside = await inbox.put_aside()
    assert aside is not None
    assert aside.reason == "/new_block: decoded, it takes more than 16 MiB of memory"


async def test_posts_are_decoded_one_after_the_other(database: Database) -> None:
    """Whoever opens several connections takes no more memory than one."""
    inside: list[int] = [0, 0]

    class Busy(NodeInbox):
        async def drop_pending(self, *args: Any) -> None:
            inside[:] = inside[0] + 1, max(inside[1], inside[0] + 1)
            await super().drop_pending(*args)
            inside[0] -= 1

    receiver = Receiver(Busy(database))
    await asyncio.gather(*(receiver.take("/drop_mempool_tx", b'{"dropped_txids": []}') for _ in range(4)))
    assert inside == [0, 1]


async def test_a_post_that_cannot_be_stored_is_not_acknowledged(database: Database) -> None:
    """The node repeats it."""
    _, bodies = scripted()
    inbox = NodeInbox(database)

    class Full(NodeInbox):
        full = True

        async def add_block(self, *args: Any) -> Added:
            if self.full:
                raise OperationalError("insert", {}, Exception("database or disk is full"))
            return await super().add_block(*args)

    full = Full(database)
    async with observing(Receiver(full)) as address:
        post = request("/new_block", json.dumps(bodies[-1]).encode())
        assert status_of(await send(address, post)) == 503
        assert await inbox.blocks_after(0) == []
        full.full = False
        assert status_of(await send(address, post)) == 200
    assert len(await inbox.blocks_after(0)) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/new_block", b"", method="GET"), 405),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST /new_block HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /new_block HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nshort", 400),
        (b"", 0),
    ],
)
async def test_what_is_no_post_gets_an_error_and_stores_nothing(
    database: Database, data: bytes, status: int
) -> None:
    """Half a request neither."""
    async with observing(Receiver(NodeInbox(database))) as address:
        assert status_of(await send(address, data, close=True)) == status
    assert rows(database) == []


async def test_a_post_that_waits_for_leave_to_send_its_body_gets_it(database: Database) -> None:
    """As curl does."""
    async with observing(Receiver(NodeInbox(database))) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /new_block HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        writer.write(head)
        async with asyncio.timeout(5):
            assert status_of(await reader.readuntil(b"\r\n\r\n")) == 100
            writer.write(b"{}")
            assert status_of(await reader.read()) == 200
        writer.close()


async def test_a_silent_connection_is_closed(database: Database) -> None:
    """It would keep the node's place."""
    async with observing(Receiver(NodeInbox(database)), silence_seconds=0.05) as address:
        assert await send(address, b"POST /new_block HTTP/1.1\r\n") == b""


async def test_more_connections_than_a_node_has_are_refused(database: Database) -> None:
    """And the next one is served when one has ended."""
    async with observing(Receiver(NodeInbox(database))) as address:
        host, port = address.split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        for _, writer in held:
            writer.write(b"POST /x HTTP/1.1\r\n")
            await writer.drain()
        assert await send(address, request("/x", b"")) == b""
        held[0][1].write(b"host: x\r\ncontent-length: 0\r\n\r\n")
        assert status_of(await held[0][0].read()) == 200
        assert status_of(await send(address, request("/x", b""))) == 200
        for _, writer in held:
            writer.close()


async def test_strangers_may_not_post(database: Database) -> None:
    """Only the node's own machine may; it cannot authenticate itself in any other way."""

    async def elsewhere() -> frozenset[str]:
        return frozenset({"10.1.2.3"})

    listener = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    observer = Observer(listener, Receiver(NodeInbox(database)).take, peers=elsewhere)
    serving = asyncio.create_task(observer.run(stop))
    _, bodies = scripted()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert await send(address, request("/new_block", json.dumps(bodies[-1]).encode())) == b""
    assert rows(database) == []
    stop.set()
    await serving


async def test_a_name_server_that_hangs_changes_no_known_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known counts, and the post is not held up."""
    addresses = HostAddresses("10.1.2.3")
    assert await addresses() == {"10.1.2.3"}

    async def hangs(*_: object, **__: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    monkeypatch.setattr("chain.node.observer.LOOKUP_SECONDS", 0.01)
    monkeypatch.setattr(addresses, "_until", float("-inf"))
    async with asyncio.timeout(10):
        assert await addresses() == {"10.1.2.3"}


async def test_a_host_is_known_by_its_addresses() -> None:
    """This machine by all of its own names; an IPv4 address written as IPv6 is itself."""
    assert {"127.0.0.1", "::1"} <= await HostAddresses("localhost")()
    assert await HostAddresses("10.1.2.3")() == {"10.1.2.3"}
    assert await HostAddresses("no-such-host.invalid")() == frozenset()
    assert normalized("::ffff:10.1.2.3") == "10.1.2.3"
    assert normalized("fe80::1%eth0") == "fe80::1"


async def test_a_bitcoin_fork_is_noticed(database: Database) -> None:
    """By another Bitcoin block of one height, which is the first sign."""
    inbox = NodeInbox(database)
    names = ["01-main", "02-fork-a", "03-fork-b", "03-fork-b", "04-fork-b-next"]
    found = []
    for name in names:
        told = json.loads((DATA / "simnet" / "new_burn_block" / f"{name}.json").read_text())
        found.append(await inbox.add_burn_block(told["burn_block_hash"], told["burn_block_height"]))
    assert found == [False, False, True, False, False]


async def test_dropped_transactions_leave_the_mempool(database: Database) -> None:
    """Whether they were known or not."""
    inbox = NodeInbox(database)
    receiver = Receiver(inbox)
    one, two = (txs.stx_transfer(principal("payer"), principal("shop"), n) for n in (1, 2))
    await receiver.take("/new_mempool_tx", json.dumps([f"0x{one.raw.hex()}", f"0x{two.raw.hex()}"]).encode())
    dropped = {"dropped_txids": [one.tx_id, "0x" + "ab" * 32], "reason": "TooExpensive", "new_txid": None}
    await receiver.take("/drop_mempool_tx", json.dumps(dropped).encode())
    assert await inbox.pending() == [(two.tx_id, two.raw)]


async def test_of_a_long_list_of_pending_transactions_only_the_kept_ones_are_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A post of a hundred thousand would hold the database for a minute."""
    monkeypatch.setattr(node_posts, "ROWS_KEPT", dict.fromkeys(node_posts.ROWS_KEPT, 3))
    inbox = NodeInbox(database)
    await inbox.add_pending([(f"0x{n:064x}", b"tx") for n in range(9)])
    assert [(row.id, row.key[-1]) for row in rows(database)] == [(1, "6"), (2, "7"), (3, "8")]
    await inbox.add_pending([(f"0x{n:064x}", b"tx") for n in range(8, 10)])
    assert [row.key[-1] for row in rows(database)] == ["7", "8", "9"]


async def test_only_the_newest_posts_of_each_kind_are_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number, and blocks by bytes too, whatever heights they claim."""
    monkeypatch.setattr(node_posts, "ROWS_KEPT", dict.fromkeys(node_posts.ROWS_KEPT, 3))
    inbox = NodeInbox(database)
    hashes = [f"0x{n:064x}" for n in range(9)]
    for n, block_hash in enumerate(hashes):
        await inbox.add_block(header(block_hash, 2**31 - 1 if n == 5 else n), (), b"{}")
        await inbox.add_burn_block(block_hash, n)
        await inbox.add_pending([(block_hash, b"tx")])
        await inbox.set_aside("/new_block", str(n).encode(), "bad")
    assert [block.hash for block in await inbox.blocks_after(0)] == hashes[-3:]
    assert [tx_id for tx_id, _ in await inbox.pending()] == hashes[:-4:-1]
    assert len(rows(database)) == 12
    monkeypatch.setattr(node_posts, "BLOCK_BYTES_KEPT", 150)
    await inbox.add_block(header("0x" + "ff" * 32, 1), (), bytes(range(256)))
    await inbox.add_block(header("0x" + "ee" * 32, 1), (), b"{}")
    kept = [block.hash for block in await inbox.blocks_after(0)]
    assert kept[-1] == "0x" + "ee" * 32
    assert "0x" + "ff" * 32 not in kept
