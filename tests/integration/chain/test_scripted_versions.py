"""Versions of the scripted API: what came with 9.1 to 9.7, what warns, and what is gone after the sunset."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chain.testing import VERSIONS, ScriptedApi, ScriptedChain, Shape, principal, txs
from chain.testing.txs import SBTC

PAYER, MERCHANT = principal("payer"), principal("merchant")
PAID = txs.sbtc_transfer(PAYER, MERCHANT, 50_000, memo=b"INV-1")
STX = txs.stx_transfer(PAYER, MERCHANT, 7, b"INV-2")
MINTED = txs.peg_in(MERCHANT, 5)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    chain = ScriptedChain(keep="instant")
    chain.mine([PAID], burn=True)
    chain.mine([STX, MINTED], n=3)
    async with ScriptedApi(chain, version="9.7", ping_interval=None) as api:
        yield api


@pytest.fixture
async def client(api: ScriptedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url) as client:
        yield client


async def json_of(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


ROUTES = {
    "multiple": f"/extended/v1/tx/multiple?tx_id={PAID.tx_id}",
    "blocks": "/extended/v2/blocks?limit=1",
    "block": "/extended/v2/blocks/latest",
    "blocks_v3": "/extended/v3/blocks?limit=1",
    "block_v3": "/extended/v3/blocks/latest",
    "bitcoin": "/extended/v3/bitcoin-blocks/latest",
    "batch": f"/extended/v3/transactions/batch?tx_id={PAID.tx_id}",
    "ft": f"/extended/v3/principals/{MERCHANT}/transfers/ft/{SBTC}",
    "stx": f"/extended/v3/principals/{MERCHANT}/transfers/stx/inbound",
}


@pytest.mark.parametrize(
    ("version", "missing", "warning", "gone"),
    [
        ("9.0", {"blocks_v3", "block_v3", "bitcoin", "batch", "ft", "stx"}, set(), set()),
        ("9.1", {"blocks_v3", "block_v3", "bitcoin", "batch"}, set(), set()),
        ("9.2.0", {"blocks_v3", "block_v3", "bitcoin"}, {"multiple"}, set()),
        ("9.7", set(), {"multiple", "blocks", "block"}, set()),
        ("sunset", set(), {"multiple", "blocks", "block"}, {"multiple", "blocks", "block"}),
    ],
)
async def test_each_version_has_its_routes_warns_of_deprecated_ones_and_ends_them_with_the_sunset(
    api: ScriptedApi,
    client: httpx.AsyncClient,
    version: str,
    missing: set[str],
    warning: set[str],
    gone: set[str],
) -> None:
    """A route is missing (404), warns (299) or is gone (410) as the reference says for each version."""
    api.become(version)
    answers = {name: await client.get(path) for name, path in ROUTES.items()}
    assert {name for name, answer in answers.items() if answer.status_code == 404} == missing
    assert {name for name, answer in answers.items() if "299" in answer.headers.get("warning", "")} == warning
    assert {name for name, answer in answers.items() if answer.status_code == 410} == gone
    assert all(answers[name].json()["error"] == "Gone" for name in gone)
    status = await json_of(client, "/extended")
    assert VERSIONS.get(version, version) in status["server_version"]


async def test_summaries_count_events_and_write_times_twice_from_the_versions_that_do(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    """``event_count`` comes with 9.7 and ``time_iso`` with 9.6."""
    for version, counted, twice in (("9.0", False, False), ("9.6.0", False, True), ("9.7", True, True)):
        api.become(version)
        for row in (await json_of(client, "/extended/v3/transactions?limit=50"))["results"]:
            assert ("event_count" in row) is counted
            assert ("time_iso" in row["block"]) is ("time_iso" in row["bitcoin_block"]) is twice
            if row["tx_id"] == PAID.tx_id and counted:
                assert row["event_count"] == len(PAID.events)


async def test_an_id_without_0x_is_redirected_from_9_6_and_stays_an_error_before(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    """302 to the same URL with 0x, its query kept; in lists too."""
    bare = PAID.tx_id.removeprefix("0x")
    one = await client.get(f"/extended/v3/transactions/{bare}?include=result")
    assert (one.status_code, one.headers["location"]) == (
        302,
        f"/extended/v3/transactions/{PAID.tx_id}?include=result",
    )
    many = await client.get(f"/extended/v3/transactions/batch?tx_id={STX.tx_id},{bare}")
    assert many.headers["location"].endswith(f"batch?tx_id={STX.tx_id},{PAID.tx_id}")
    api.become("9.1")
    assert (await client.get(f"/extended/v3/transactions/{bare}")).status_code == 500


@pytest.mark.parametrize("cursor", ["height", "hash", "opaque"])
async def test_the_block_list_is_walked_by_its_cursor_whatever_that_looks_like(
    api: ScriptedApi, client: httpx.AsyncClient, cursor: Any
) -> None:
    """``cursor.next`` leads to older blocks without a gap, in each form that the reference leaves open."""
    api.shape = Shape(cursor=cursor, parent_in_list=cursor == "hash")
    found: list[Any] = []
    path: str | None = "/extended/v3/blocks?limit=2"
    while path is not None:
        page = await json_of(client, path)
        found += page["results"]
        path = page["cursor"]["next"] and f"/extended/v3/blocks?limit=2&cursor={page['cursor']['next']}"
    assert [row["height"] for row in found] == [104, 103, 102, 101, 100]
    assert all(row["index_hash"] == api.chain.header(row["height"]).hash for row in found)
    assert all(("parent_block" in row) is (cursor == "hash") for row in found)


async def test_a_single_block_names_its_parent_and_its_bitcoin_block(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    """By height, hash and index hash the same object; an orphan is 404."""
    header = api.chain.header(101)
    by_height = await json_of(client, "/extended/v3/blocks/101")
    assert by_height == await json_of(client, f"/extended/v3/blocks/{header.hash}")
    assert by_height == await json_of(client, f"/extended/v3/blocks/{header.block_hash}")
    assert by_height["parent_block"]["index_hash"] == header.parent_hash
    assert (by_height["bitcoin_block"]["height"], by_height["bitcoin_block"]["hash"]) == (
        header.burn_height,
        header.burn_hash,
    )
    bitcoin = await json_of(client, f"/extended/v3/bitcoin-blocks/{header.burn_height}")
    assert (bitcoin["hash"], bitcoin["block_count"]) == (header.burn_hash, 4)
    listed = await json_of(client, f"/extended/v3/bitcoin-blocks/{header.burn_hash}/blocks")
    assert [row["height"] for row in listed["results"]] == [104, 103, 102, 101]
    newest = (await json_of(client, "/extended/v3/bitcoin-blocks"))["results"][0]
    assert newest == bitcoin
    api.chain.fork(100).mine()
    assert (await client.get(f"/extended/v3/blocks/{header.hash}")).status_code == 404


async def test_a_batch_is_in_chain_order_without_the_unknown_and_at_most_twenty(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    """Repeated parameters and commas are one list; 21 ids, a double one, and none are 400."""
    path = "/extended/v3/transactions/batch"
    unknown = "0x" + "ab" * 32
    found = await json_of(client, f"{path}?tx_id={PAID.tx_id},{unknown}&tx_id={MINTED.tx_id}")
    assert [row["tx_id"] for row in found["results"]] == [MINTED.tx_id, PAID.tx_id]
    ids = ",".join(f"0x{number:064x}" for number in range(21))
    for query in (f"?tx_id={ids}", f"?tx_id={unknown},{unknown}", "", "?tx_id="):
        assert (await client.get(path + query)).status_code == 400


async def test_transfer_lists_have_one_row_for_each_event_with_its_block(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    """In, out and mints of one asset, newest first; STX rows carry the memo."""
    page = await json_of(client, f"{ROUTES['ft']}?limit=1")
    assert page["total"] == 2
    assert page["results"][0]["sender"] is None
    older = await json_of(client, f"{ROUTES['ft']}?limit=1&cursor={page['cursor']['next']}")
    [row] = older["results"]
    assert (row["transaction"]["tx_id"], row["amount"]) == (PAID.tx_id, "50000")
    assert row["block"]["index_hash"] == api.chain.header(101).hash
    at = await json_of(client, f"{ROUTES['ft']}?cursor=101:0:0:0")
    assert [row["transaction"]["tx_id"] for row in at["results"]] == [PAID.tx_id]
    [stx] = (await json_of(client, ROUTES["stx"]))["results"]
    assert bytes.fromhex(stx["memo"]["hex"][2:]).rstrip(b"\0") == b"INV-2"
    assert (await client.get(ROUTES["ft"].replace("::", "--"))).status_code == 400


@pytest.mark.parametrize(
    ("route", "most"),
    [("ft", 50), ("stx", 50), ("blocks_v3", 30)],
)
async def test_a_limit_over_the_maximum_is_refused(client: httpx.AsyncClient, route: str, most: int) -> None:
    """Each list has its own maximum, as in the reference."""
    base = ROUTES[route].partition("?")[0]
    assert (await client.get(f"{base}?limit={most}")).status_code == 200
    assert (await client.get(f"{base}?limit={most + 1}")).status_code == 400


async def test_from_9_1_every_block_is_canonical_at_once_and_a_branch_comes_back_whole() -> None:
    """A sibling replaces the tip, a shorter fork moves the tip back, a child of an orphan restores its branch
    and only the newest block is announced.
    """
    chain = ScriptedChain(keep="instant")
    chain.mine(n=5)
    first = chain.tip
    sibling = chain.fork(104).mine()
    assert (chain.tip, sibling.height) == (sibling, first.height)
    lower = chain.fork(101).mine()
    assert (chain.tip, chain.tip.height) == (lower, 102)
    said: list[Any] = []
    chain.listen(said.append)
    restored = chain.fork(first.hash).mine()
    assert chain.tip == restored
    assert chain.header(105) == first
    assert [event.block.header for event in said] == [restored]
