"""The pool's check of version and network, against local servers."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from chain.api.client import StacksApi
from chain.errors import SourceError, SourceLimited, SourceUnavailable, UnsupportedVersion, WrongNetwork
from chain.source_health import SourceState
from chain.source_pool import SourcePool

DATA = Path(__file__).parents[2] / "data" / "stacks-api"
STATUS = json.loads((DATA / "status-v9.json").read_text())["body"]
NO_NODE = json.loads((DATA / "err-proxy-no-node.json").read_text())["body"]


class Server:
    """A status page with a version, and a node with a network id (None: no node behind the API)."""

    def __init__(self, version="stacks-blockchain-api v9.0.2 (main:759c4a586)", network=1):
        self.version = version
        self.network = network
        self.down = False
        self.asked = 0

    async def __call__(self, request):
        self.asked += 1
        if self.down:
            return web.Response(status=502)
        if request.path == "/v2/info":
            if self.network is None:
                return web.json_response(NO_NODE, status=500)
            return web.json_response({"network_id": self.network, "stacks_tip_height": 1})
        return web.json_response(STATUS | {"server_version": self.version})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def pool_of(serve):
    """Build a pool over local servers, with a stopped clock."""
    async with AsyncExitStack() as stack:

        async def build(*servers, **options):
            apis = [await stack.enter_async_context(serve(server)) for server in servers]
            clock = Clock()
            return SourcePool(apis, clock=clock, rng=lambda: 1.0, **options), clock

        yield build


@pytest.mark.parametrize(
    ("network", "number"), [("mainnet", 1), ("testnet", 2147483648), ("devnet", 2147483648)]
)
async def test_a_fitting_source_passes_and_is_asked_once(pool_of, network, number):
    server = Server(network=number)
    pool, _ = await pool_of(server)
    await pool.check(network)
    await pool.check(network)
    assert server.asked == 2
    (row,) = pool.health()
    assert (row.state, row.version, row.tip_height, row.note) == (SourceState.OK, server.version, 1, None)
    assert row.latency_ms is not None


async def test_a_source_is_checked_again_after_a_day_and_keeps_serving_meanwhile(pool_of):
    """An upgrade shows, a failed second look is that source's failure, and nothing else waits for it."""
    server = Server()
    pool, clock = await pool_of(server)
    await pool.check("mainnet")
    server.version = "stacks-blockchain-api v9.7.1 (main:1)"
    clock.now = 86_000.0
    await pool.check("mainnet")
    assert server.asked == 2
    clock.now = 86_500.0
    await pool.check("mainnet")
    assert server.asked == 4
    assert pool.health()[0].version == server.version
    server.down = True
    clock.now = 200_000.0
    await pool.check("mainnet")
    assert pool.health()[0].state is SourceState.FAILING


async def test_an_api_without_a_node_passes_with_a_note(pool_of):
    pool, _ = await pool_of(Server(network=None))
    await pool.check("mainnet")
    (row,) = pool.health()
    assert (row.state, row.errors, row.note) == (SourceState.OK, 0, "network not verified")


async def test_a_version_without_numbers_passes_with_a_note(pool_of):
    pool, _ = await pool_of(Server("stacks-blockchain-api dev"))
    await pool.check("mainnet")
    assert pool.health()[0].note == "version not recognized"


async def test_an_old_api_is_refused_with_advice(pool_of):
    pool, _ = await pool_of(Server("stacks-blockchain-api v8.15.4 (master:abc)"))
    with pytest.raises(UnsupportedVersion, match=r"v8\.15\.4.*9\.0 or newer") as caught:
        await pool.check("mainnet")
    assert "Upgrade" in caught.value.hint


async def test_another_network_is_refused_with_advice(pool_of):
    pool, _ = await pool_of(Server(network=2147483648))
    with pytest.raises(WrongNetwork, match="serves testnet, but the settings say mainnet") as caught:
        await pool.check("mainnet")
    assert "mainnet" in caught.value.hint
    pool, _ = await pool_of(Server(network=77))
    with pytest.raises(WrongNetwork, match="network id 77"):
        await pool.check("mainnet")


async def test_one_reachable_source_is_enough_and_the_other_is_checked_later(pool_of):
    first, second = Server(), Server()
    first.down = True
    pool, clock = await pool_of(first, second)
    await pool.check("mainnet")
    assert pool.pick().url == pool.health()[1].url
    assert pool.others(pool.pick()) == []
    first.down = False
    await pool.check("mainnet")
    assert pool.health()[0].state is SourceState.FAILING, "it is left alone until its pause is over"
    clock.now += 1
    await pool.check("mainnet")
    assert pool.health()[0].state is SourceState.OK
    assert len(pool.others(pool.pick())) == 1


async def test_no_reachable_source_is_an_error_that_tells_when_to_try_again(pool_of):
    server = Server()
    server.down = True
    pool, clock = await pool_of(server)
    with pytest.raises(SourceUnavailable, match="502") as caught:
        await pool.check("mainnet")
    clock.now += caught.value.retry_after
    server.down = False
    await pool.check("mainnet")
    assert pool.pick()


async def test_a_misfit_that_appears_later_is_left_out_but_stops_nobody(pool_of):
    first, second = Server(), Server("stacks-blockchain-api v8.0.0 (x:y)")
    second.down = True
    pool, clock = await pool_of(first, second)
    await pool.check("mainnet")
    second.down = False
    clock.now += 1
    await pool.check("mainnet")
    row = pool.health()[1]
    assert row.state is SourceState.REFUSED
    assert "v8.0.0" in row.note
    clock.now += 1000
    asked = second.asked
    await pool.check("mainnet")
    assert second.asked == asked
    assert pool.others(pool.pick()) == []


async def test_only_misfits_left_is_a_case_for_a_person_at_every_check(pool_of):
    old, other = Server("stacks-blockchain-api v8.0.0 (x:y)"), Server(network=2147483648)
    old.down = other.down = True
    pool, clock = await pool_of(old, other)
    with pytest.raises(SourceError):
        await pool.check("mainnet")
    old.down = False
    clock.now += 1
    with pytest.raises(SourceUnavailable, match="refused"):
        await pool.check("mainnet")
    other.down = False
    for _ in range(3):
        clock.now += 60
        with pytest.raises(UnsupportedVersion, match=r"v8\.0\.0") as caught:
            await pool.check("mainnet")
        assert "Upgrade" in caught.value.hint
    with pytest.raises(SourceUnavailable) as none:
        pool.pick()
    assert none.value.retry_after is None


async def test_misfits_at_the_start_are_told_again_unless_another_source_fits(pool_of):
    old, fit = Server("stacks-blockchain-api v8.0.0 (x:y)"), Server()
    for servers, times in ((old,), 3), ((old, fit), 1):
        pool, _ = await pool_of(*servers)
        for _ in range(times):
            with pytest.raises(UnsupportedVersion):
                await pool.check("mainnet")
    await pool.check("mainnet")
    assert pool.pick().url == pool.health()[1].url


async def test_a_source_that_limits_the_check_is_asked_again_when_it_says(serve):
    answers = [429, 200, 200]

    async def server(request):
        if (status := answers.pop(0)) != 200:
            return web.Response(status=status, headers={"Retry-After": "50"})
        return web.json_response(STATUS if request.path == "/extended" else {"network_id": 1})

    async with serve(server) as api:
        clock = Clock()
        pool = SourcePool([api], clock=clock, rng=lambda: 1.0)
        with pytest.raises(SourceLimited) as caught:
            await pool.check("mainnet")
        assert caught.value.retry_after == 50
        with pytest.raises(SourceLimited):
            await pool.check("mainnet")
        clock.now += 50
        await pool.check("mainnet")
    assert answers == []


async def test_closing_the_pool_closes_its_sources():
    api = StacksApi("http://127.0.0.1:9")
    await SourcePool([api]).aclose()
    assert api._fetcher._client.is_closed
