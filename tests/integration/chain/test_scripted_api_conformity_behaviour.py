"""The scripted API beyond the recordings: paging over many pages, faults, lag, hooks, and odd chains."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chain.clarity import Buffer, UInt
from chain.testing import Request, ScriptedApi, ScriptedChain, principals, txs

PAYER, MERCHANT, OTHER = principals(3)
PAY = txs.sbtc_transfer(PAYER, MERCHANT, 50_000, memo=b"INV-1")


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi(ScriptedChain(keep="follow")) as server:
        yield server


@pytest.fixture
async def client(api: ScriptedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url) as http:
        yield http


async def json_of(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_block_list_is_walked_by_prev_cursor_down_and_next_cursor_up(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.chain.mine(n=10)
    pages = [await json_of(client, "/extended/v2/blocks", limit=4)]
    while cursor := pages[-1]["prev_cursor"]:
        pages.append(await json_of(client, "/extended/v2/blocks", limit=4, cursor=cursor))
    assert [[b["height"] for b in page["results"]] for page in pages] == [
        [110, 109, 108, 107],
        [106, 105, 104, 103],
        [102, 101, 100],
    ]
    assert [page["next_cursor"] for page in pages[1:]] == [page["cursor"] for page in pages[:-1]]
    moved = await json_of(client, "/extended/v2/blocks", limit=2, cursor=pages[1]["cursor"], offset=-3)
    assert [b["height"] for b in moved["results"]] == [109, 108]
    unknown = await client.get("/extended/v2/blocks", params={"cursor": "0x" + "ab" * 32})
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Cursor not found")


async def test_the_transaction_list_is_complete_over_its_pages_and_new_blocks_do_not_shift_it(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    for number in range(20):
        api.chain.mine(
            [txs.stx_transfer(PAYER, MERCHANT, number + 1), txs.stx_transfer(OTHER, MERCHANT, number + 1)]
        )
    expected = [tx.tx_id for block in reversed(api.chain.blocks) for tx in reversed(block.txs)]
    seen, cursor = [], None
    while True:
        page = await json_of(
            client, "/extended/v3/transactions", limit=7, **({"cursor": cursor} if cursor else {})
        )
        assert cursor in (None, page["cursor"]["current"])
        seen += [row["tx_id"] for row in page["results"]]
        api.chain.mine()
        cursor = page["cursor"]["next"]
        if cursor is None:
            break
    assert seen == expected
    at = await json_of(client, "/extended/v3/transactions", limit=1, cursor="110:0:0")
    assert at["cursor"]["current"] == "110:2147483647:1"
    below = await json_of(client, "/extended/v3/transactions", cursor="5:0:0")
    assert (below["results"], below["cursor"]["current"]) == ([], None)


async def test_an_unchanged_tip_gives_304_and_a_new_block_does_not(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    first = await client.get("/extended/v3/transactions")
    condition = {"if-none-match": first.headers["etag"]}
    again = await client.get("/extended/v3/transactions", headers=condition)
    assert (again.status_code, again.content) == (304, b"")
    api.chain.mine()
    assert (await client.get("/extended/v3/transactions", headers=condition)).status_code == 200


async def test_a_hook_can_reorganise_the_chain_between_two_pages(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.chain.mine([txs.stx_transfer(PAYER, MERCHANT, n + 1) for n in range(60)])
    old = api.chain.tip
    seen: list[Request] = []

    def fork(request: Request) -> None:
        seen.append(request)
        api.chain.reorg(1, [[PAY]])

    api.before("block_transactions", fork, nth=2)
    by_height = "/extended/v3/blocks/101/transactions"
    first = await json_of(client, by_height, limit=50)
    second = await json_of(client, by_height, limit=50, cursor=first["cursor"]["next"])
    assert [row["tx_id"] for row in second["results"]] == [PAY.tx_id]
    gone = await client.get(f"/extended/v3/blocks/{old.hash}/transactions")
    assert (gone.status_code, gone.headers["etag"]) == (404, f'"{old.hash}:false"')
    assert [request.query["limit"] for request in seen] == ["50"]


async def test_a_hook_may_be_a_coroutine(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    async def mine(_: Request) -> None:
        api.chain.mine()

    api.before("status", mine)
    status = await json_of(client, "/extended")
    assert status["chain_tip"]["block_height"] == 101


async def test_a_lagging_server_knows_neither_the_newest_blocks_nor_their_transactions(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.chain.add_pending(PAY)
    tip = api.chain.mine([PAY])
    api.lag(1)
    assert (await json_of(client, "/extended"))["chain_tip"]["block_height"] == 100
    for ref in (tip.hash, tip.block_hash, str(tip.height)):
        missing = await client.get(f"/extended/v2/blocks/{ref}")
        assert (missing.status_code, missing.headers.get("etag")) == (404, None)
    shown = await json_of(client, f"/extended/v3/transactions/{PAY.tx_id}")
    assert shown["status"] == "pending"
    api.lag(0)
    shown = await json_of(client, f"/extended/v3/transactions/{PAY.tx_id}")
    assert shown["status"] == "success"


async def test_a_frozen_server_stays_on_the_old_branch(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    old = api.chain.mine([PAY])
    api.freeze()
    api.chain.reorg(1)
    assert (await json_of(client, "/extended/v2/blocks/101"))["index_block_hash"] == old.hash
    api.thaw()
    assert (await json_of(client, "/extended/v2/blocks/101"))["index_block_hash"] != old.hash


async def test_two_servers_of_one_chain_have_faults_of_their_own(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    async with ScriptedApi(api.chain) as second, httpx.AsyncClient(base_url=second.url) as other:
        second.faults.fail(503)
        assert (await client.get("/extended")).status_code == 200
        assert (await other.get("/extended")).status_code == 503
        assert (await other.get("/extended")).status_code == 200
        assert (api.counts["status"], second.counts["status"]) == (1, 2)


async def test_faults_hit_their_route_as_often_as_told(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    api.faults.rate_limit(retry_after=3, times=2, route="blocks")
    limited = [await client.get(path) for path in ("/extended", "/extended/v2/blocks", "/extended/v2/blocks")]
    assert [(a.status_code, a.headers.get("retry-after")) for a in limited] == [
        (200, None),
        (429, "3"),
        (429, "3"),
    ]
    assert (await client.get("/extended/v2/blocks")).status_code == 200
    api.faults.refuse(403, times=None)
    assert [(await client.get("/extended")).status_code for _ in range(3)] == [403] * 3
    api.faults.clear()
    assert (await client.get("/extended")).status_code == 200


async def test_bodies_can_be_html_truncated_malformed_or_bombs(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.faults.html(200)
    page = await client.get("/extended")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    api.faults.truncate()
    whole = (await client.get("/extended")).text
    assert whole
    with pytest.raises(ValueError, match="Unterminated string"):
        httpx.Response(200, text=whole).json()
    api.faults.malformed(b"\xff\xfe")
    assert (await client.get("/extended")).content == b"\xff\xfe"
    api.faults.gzip_bomb(2)
    async with client.stream("GET", "/extended") as bomb:
        assert int(bomb.headers["content-length"]) < 10_000
        assert sum([len(part) async for part in bomb.aiter_bytes()]) > 2 << 20


async def test_connections_can_break_before_or_within_the_answer(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.faults.disconnect()
    with pytest.raises(httpx.TransportError):
        await client.get("/extended")
    api.faults.cut()
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/extended/v2/blocks")
    api.faults.slow(0.01)
    assert (await client.get("/extended")).status_code == 200
    api.faults.slow(30)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/extended", timeout=0.05)


async def test_a_lying_server_changes_bodies(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    def more(route: str, body: Any) -> Any:
        return {**body, "total": 999} if route == "transactions" else body

    api.faults.tamper = more
    assert (await json_of(client, "/extended/v3/transactions"))["total"] == 999
    assert (await json_of(client, "/extended/v2/blocks"))["total"] == 1


async def test_a_stopped_server_starts_again_on_its_port(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    url = api.url
    await api.stop()
    with pytest.raises(httpx.ConnectError):
        await client.get("/extended")
    await api.start()
    assert api.url == url
    assert (await client.get("/extended")).status_code == 200


async def test_version_network_key_and_headers_are_what_the_test_sets(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    api.version, api.network_id, api.api_key = "8.15.4", 2147483648, "secret"
    api.extra_headers = {"ratelimit-remaining": "3"}
    assert (await client.get("/extended")).status_code == 401
    client.headers["x-api-key"] = "secret"
    status = await client.get("/extended")
    assert status.json()["server_version"] == "stacks-blockchain-api v8.15.4 (main:759c4a586)"
    assert status.headers["ratelimit-remaining"] == "3"
    assert (await json_of(client, "/v2/info"))["network_id"] == 2147483648


async def test_too_long_a_request_gets_431_where_240_ids_still_pass(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    def ids(count: int) -> str:
        return ",".join("0x" + f"{n:064x}" for n in range(count))

    found = await client.get(f"/extended/v1/tx/multiple?tx_id={ids(240)}")
    assert len(found.json()) == 240
    assert (await client.get(f"/extended/v1/tx/multiple?tx_id={ids(300)}")).status_code == 431


async def test_arguments_can_be_left_out_and_have_the_names_the_chain_gives(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    named = txs.call(f"{OTHER}.shop", "buy", PAYER, [UInt(1), Buffer(b"x"), b"\xff"], arg_names=["amount"])
    api.chain.mine([named])
    found = await json_of(client, "/extended/v1/tx/multiple", tx_id=named.tx_id)
    args = found[named.tx_id]["result"]["contract_call"]["function_args"]
    assert [(arg["name"], arg["type"]) for arg in args] == [("amount", "uint"), ("", "(buff 1)"), ("", "")]
    bare = await json_of(client, "/extended/v1/tx/multiple", tx_id=named.tx_id, exclude_function_args="true")
    assert "function_args" not in bare[named.tx_id]["result"]["contract_call"]


async def test_the_mempool_is_paged_newest_first(api: ScriptedApi, client: httpx.AsyncClient) -> None:
    waiting = [txs.stx_transfer(PAYER, MERCHANT, n + 1) for n in range(5)]
    for place, tx in enumerate(waiting):
        api.chain.add_pending(tx, time=1_800_000_000 + place)
    first = await json_of(client, "/extended/v3/mempool/transactions", limit=3)
    second = await json_of(
        client, "/extended/v3/mempool/transactions", limit=3, cursor=first["cursor"]["next"]
    )
    seen = [row["tx_id"] for row in first["results"] + second["results"]]
    assert seen == [tx.tx_id for tx in reversed(waiting)]
    assert second["cursor"]["previous"] == first["cursor"]["current"]
    assert second["cursor"]["next"] is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/extended/v2/blocks?limit=x", "querystring/limit must be integer"),
        ("/extended/v2/blocks?offset=-301", "querystring/offset must be >= -300"),
        ("/extended/v1/tx/multiple", "querystring must have required property 'tx_id'"),
        ("/extended/v1/tx/multiple?tx_id=0x00&event_limit=101", "querystring/event_limit must be <= 100"),
        ("/extended/v3/transactions/0x12", 'params/tx_id must match pattern "^(0x)?[a-fA-F0-9]{64}$"'),
        ("/extended/v2/blocks/nonsense", "params/height_or_hash must match a schema in anyOf"),
    ],
)
async def test_requests_that_do_not_fit_get_400(client: httpx.AsyncClient, path: str, message: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_unknown_things_get_404(client: httpx.AsyncClient) -> None:
    for path in ("/extended/v2/burn-blocks/5/blocks", "/extended/v1/tx/0x" + "ab" * 32, "/"):
        assert (await client.get(path)).status_code == 404
    assert (await client.post("/extended")).json()["message"] == "Route POST:/extended not found"
    latest = await json_of(client, "/extended/v2/burn-blocks/latest/blocks")
    assert latest["total"] == 1


async def test_waiting_for_a_request_ends_with_its_answer(
    api: ScriptedApi, client: httpx.AsyncClient
) -> None:
    waiting = asyncio.create_task(api.wait_for("blocks", count=2))
    await client.get("/extended/v2/blocks")
    assert not waiting.done()
    await client.get("/extended/v2/blocks")
    await asyncio.wait_for(waiting, 5)
    assert [request.status for request in api.requests] == [200, 200]
    api.clear()
    with pytest.raises(TimeoutError):
        await api.wait_for("blocks", within=0.01)
