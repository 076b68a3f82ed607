"""StacksApi against answers recorded from a running Stacks Blockchain API 9.0.2."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from chain.api import parse as parser
from chain.api import parse_multiple
from chain.api.client import StacksApi
from chain.api.transport import Fetcher
from chain.errors import SourceInconsistent, SourceUnavailable
from chain.model import STX, ContractCall, PrintEvent, TransferEvent, TxStatus

DATA = Path(__file__).parents[3] / "data" / "stacks-api"

BLOCK_4 = "0x4fb66ca3c780c44b1b06e8a38cef7419fa33106452fa37add45b76fc0973d609"
BLOCK_4_V1 = "0x51d12bc33eb752c1774915e638d1ff34e77f033365950e17b49b27405c541d25"
BIG_BLOCK = "0x6f91c1466b2f3a132cd4b123754e15e95cc759eea85b3a9e7351ae897f7ad9cd"
MERCHANT = "SP631QCCSY4ZBC8PM6YN160YPSB2QBTSSW2RYEW0"
TOKEN = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
SBTC_TX = "0xbf1408050ae7c356d7135b722de6d815c20ad06cc876a0f7778d01995e213232"
STX_TX = "0x6ba3576c97159b20faf644dd7960ea4f5b56c687de82bde9cd3c3d2df06222b0"
ROUTER_TX = "0x6961a27aa8deeaf2aa71f9e88860a49fb72296f4772fadb458edbbd02dd68708"
MANY_TX = "0xb7519e1638a4cb53ddbfc1f1f0ca91b74a5aaefd6edd7127210490b782c5a8ce"


def recording(name):
    return json.loads((DATA / f"{name}.json").read_text())


def asked_ids(name):
    """The ids in the URL of a recorded tx/multiple request."""
    return recording(name)["request"]["path"].split("tx_id=")[1].split("&")[0].split(",")


async def test_status_names_version_and_tip(cassette, recorded):
    with cassette("status"):
        status = await recorded.status()
    assert status.version == (9, 0, 2)
    assert status.server_version == "stacks-blockchain-api v9.0.2 (main:759c4a586)"
    assert (status.tip_height, status.tip_burn_height) == (1, 870001)
    assert status.tip_hash == "0xfaba2f6924ce3ecf333e3be2024d251f56547d861c26e1315317467de88b5d49"


async def test_the_network_is_unknown_without_a_node_behind_the_api(cassette, recorded):
    with cassette("status"), pytest.raises(SourceUnavailable, match="ECONNREFUSED"):
        await recorded.network_id()


async def test_headers_come_newest_first_and_linked(cassette, recorded):
    with cassette("headers"):
        headers = await recorded.headers(limit=3)
    assert [header.height for header in headers] == [4, 3, 2]
    assert [header.parent_hash for header in headers[:-1]] == [header.hash for header in headers[1:]]
    newest = headers[0]
    assert (newest.hash, newest.block_hash) == (BLOCK_4, BLOCK_4_V1)
    assert (newest.time, newest.burn_height, newest.burn_time) == (1795112796, 870002, 1795112795)
    assert newest.burn_hash == "0xcc2afe1c5de9b2cd038ab5cd5cab7ac608ad311ac9e18237a84dbe70814e9f11"
    assert newest.tx_count == 9


async def test_a_negative_offset_from_the_tip_gives_nothing(cassette, recorded):
    with cassette("headers"):
        assert await recorded.headers(limit=3, offset=-3) == ()


async def test_a_header_is_found_by_height_and_by_index_hash(cassette, recorded):
    with cassette("headers"):
        by_height = await recorded.header(4)
        assert await recorded.header(BLOCK_4) == by_height
    assert by_height.hash == BLOCK_4


async def test_a_height_above_the_tip_is_none(cassette, recorded):
    with cassette("headers"):
        assert await recorded.header(99999999) is None


async def test_an_orphaned_block_is_none_however_it_is_asked_for(cassette, recorded):
    orphan = recording("reorg-2-orphan-by-index-hash")["request"]["path"].rsplit("/", 1)[1]
    with cassette("after-reorg"):
        assert await recorded.headers(limit=3, cursor=orphan) is None
        assert await recorded.header(orphan) is None
        old_etag = recording("reorg-2-block-by-height")["request"]["headers"]["If-None-Match"]
        assert old_etag == f'"{orphan}:true"'
        answer = await recorded._fetcher.get("/extended/v2/blocks/5", etag=old_etag)
    sibling = parser.header(recorded._fetcher.json(answer))
    assert sibling.height == 5
    assert sibling.hash != orphan


async def test_page_two_of_an_orphaned_block_is_none(cassette, recorded):
    with cassette("after-reorg"):
        assert await recorded.block_transactions(BIG_BLOCK, cursor="18:2147483647:70") is None


async def test_transactions_are_listed_newest_first_with_their_blocks(cassette, recorded):
    with cassette("transactions"):
        page = await recorded.transactions(limit=5)
    assert page.total == 13
    assert page.next_cursor == "4:2147483647:3"
    assert page.etag == f'"{BLOCK_4}"'
    assert [row.tx_index for row in page.results] == [8, 7, 6, 5, 4]
    assert {row.block_index_hash for row in page.results} == {BLOCK_4}
    assert {row.block_hash for row in page.results} == {BLOCK_4_V1}
    assert [row.status for row in page.results] == [
        TxStatus.SUCCESS,
        TxStatus.PROBLEMATIC_SKIPPED,
        TxStatus.ABORT_BY_POST_CONDITION,
        TxStatus.ABORT_BY_RESPONSE,
        TxStatus.SUCCESS,
    ]
    aborted = page.results[3]
    assert (aborted.kind, aborted.contract_id, aborted.function) == ("contract_call", TOKEN, "transfer")
    assert (aborted.block_height, aborted.burn_height) == (4, 870002)
    assert aborted.transfer is None


async def test_an_stx_transfer_is_whole_in_the_list(cassette, recorded):
    with cassette("transactions"):
        page = await recorded.transactions()
    assert page.next_cursor is None
    assert page.total == len(page.results) == 27
    newest = page.results[0]
    assert newest.transfer == TransferEvent(
        rank=0,
        asset=STX,
        sender=newest.sender,
        recipient="SP13AHTNV82G7FAKT89VMRXWZC3369084SRSGAG29",
        amount=1,
        memo=b"x".ljust(34, b"\0"),
    )
    assert {"coinbase", "tenure_change", "token_transfer", "contract_call"} <= {
        row.kind for row in page.results
    }


async def test_a_cursor_at_a_height_begins_with_the_end_of_that_block(cassette, recorded):
    with cassette("transactions"):
        page = await recorded.transactions(limit=5, cursor="9:0:0")
        above = await recorded.transactions(limit=2, cursor="99999:0:0")
    assert page.results[0].block_height <= 9
    heights = [(row.block_height, row.tx_index) for row in page.results]
    assert heights == sorted(heights, reverse=True)
    assert above.results


async def test_a_block_is_read_in_two_pages(cassette, recorded):
    with cassette("block-transactions"):
        first = await recorded.block_transactions(BLOCK_4, limit=3)
        second = await recorded.block_transactions(BLOCK_4, limit=3, cursor=first.next_cursor)
        whole = await recorded.block_transactions(BLOCK_4)
    assert first.total == second.total == whole.total == 9
    assert first.results + second.results == whole.results[:6]
    assert [row.tx_index for row in whole.results] == list(range(8, -1, -1))
    assert whole.next_cursor is None


async def test_the_last_page_of_a_big_block_has_no_cursor(cassette, recorded):
    with cassette("block-transactions"):
        page = await recorded.block_transactions(BIG_BLOCK, cursor="18:2147483647:20")
    assert page.total == 121
    assert [row.tx_index for row in page.results] == list(range(20, -1, -1))
    assert page.next_cursor is None


async def test_details_tell_outcome_and_events_of_every_status(cassette, recorded):
    ids = asked_ids("v1-tx-multiple")
    with cassette("details"):
        details = await recorded.details(ids, with_args=True)
    assert list(details) == ids
    assert [detail.status for detail in details.values()] == [
        TxStatus.SUCCESS,
        TxStatus.SUCCESS,
        TxStatus.SUCCESS,
        TxStatus.SUCCESS,
        TxStatus.SUCCESS,
        TxStatus.ABORT_BY_RESPONSE,
        TxStatus.ABORT_BY_POST_CONDITION,
        TxStatus.PROBLEMATIC_SKIPPED,
        TxStatus.SUCCESS,
    ]
    assert all(detail.found and detail.canonical for detail in details.values())
    assert {(detail.block_hash, detail.block_height) for detail in details.values()} == {(BLOCK_4_V1, 4)}
    assert all(not detail.events for detail in details.values() if detail.status is not TxStatus.SUCCESS)

    sbtc = details[SBTC_TX]
    assert sbtc.events == (
        TransferEvent(
            rank=0,
            asset=f"{TOKEN}::sbtc-token",
            sender="SPQ48JMDGBQ8J9WZBM8N6760MA7F1ZD5KM46FFG8",
            recipient=MERCHANT,
            amount=50000,
        ),
        PrintEvent(rank=1, contract_id=TOKEN, value=b"\x02\x00\x00\x00\x08INV-1001"),
    )
    assert sbtc.call == ContractCall(contract_id=TOKEN, function="transfer", args=sbtc.call.args)
    assert [argument[0] for argument in sbtc.call.args] == [1, 5, 5, 10]
    assert details[STX_TX].events[0].memo == b"INV-1002".ljust(34, b"\0")
    assert details[STX_TX].call is None


async def test_a_router_call_keeps_the_ranks_of_its_four_events(cassette, recorded):
    with cassette("details"):
        router = (await recorded.details(asked_ids("v1-tx-multiple"), with_args=True))[ROUTER_TX]
    assert [event.rank for event in router.events] == [0, 1, 2, 3]
    assert [getattr(event, "amount", None) for event in router.events] == [69300, 700, 1000, None]
    assert router.events[2].asset == STX
    assert router.events[2].memo == b"INV-1003"


async def test_dropped_and_unknown_transactions_are_told_apart_and_never_canonical():
    # Recorded without event_limit, which StacksApi always sends; so the body is read directly.
    answer = recording("v1-tx-multiple-dropped")
    ids = asked_ids("v1-tx-multiple-dropped")
    windows = parse_multiple.windows(answer["body"], tx_ids=frozenset(ids), with_args=True)
    details = [windows[tx_id].detail for tx_id in ids]
    assert [detail.raw_status for detail in details] == [
        "dropped_replace_by_fee",
        "dropped_stale_garbage_collect",
        "dropped_too_expensive",
        "",
    ]
    assert [detail.found for detail in details] == [True, True, True, False]
    assert all(detail.status is TxStatus.UNKNOWN and not detail.canonical for detail in details)
    assert all(detail.block_hash is None and detail.block_height is None for detail in details)
    assert len(details[0].call.args) == 4


async def test_after_a_reorg_a_transaction_is_pending_and_another_came_out_differently(cassette, recorded):
    ids = asked_ids("reorg-2-tx-multiple")
    with cassette("after-reorg"):
        orphaned, other_outcome, pending = (await recorded.details(ids, with_args=True)).values()
    assert (orphaned.found, orphaned.raw_status, orphaned.canonical) == (True, "pending", False)
    assert (other_outcome.status, other_outcome.canonical) == (TxStatus.ABORT_BY_RESPONSE, True)
    assert (pending.raw_status, pending.event_count, pending.events) == ("pending", 0, ())


async def test_all_130_events_are_read_in_two_windows(cassette, recorded):
    with cassette("many-events") as played:
        detail = (await recorded.details([MANY_TX], with_args=True))[MANY_TX]
        assert played.all_played
    assert detail.event_count == len(detail.events) == 130
    assert [event.rank for event in detail.events] == list(range(130))


async def test_the_default_limit_of_20_events_cannot_pass_for_all_of_them(serve):
    """A server that ignores ``event_limit`` is caught: 20 events of 130 are not an answer."""
    body = recording("tx-multiple-default-limit")["body"]
    assert len(body[MANY_TX]["result"]["events"]) == 20

    async def answer(request):
        assert request.query["event_limit"] == "100"
        return web.json_response(body)

    async with serve(answer) as api:
        with pytest.raises(SourceInconsistent, match="130 events, but 20"):
            await api.details([MANY_TX])


async def test_an_etag_that_still_holds_gives_304(cassette):
    path = recording("etag-block-tx-304")["request"]["path"]
    etag = recording("etag-block-tx-200")["response_headers"]["etag"]
    api = StacksApi("http://stacks-api.test")
    with cassette("conditional"):
        page = await api.block_transactions(BLOCK_4, limit=1)
        assert page.etag == etag
        answer = await api._fetcher.get(path, etag=etag)
    assert (answer.status, answer.body) == (304, b"")
    await api.aclose()


async def test_transactions_are_none_while_the_tip_is_the_same(serve):
    recorded = recording("v3-transactions")
    etag = recorded["response_headers"]["etag"]

    async def answer(request):
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.json_response(recorded["body"], headers={"ETag": etag})

    async with serve(answer) as api:
        page = await api.transactions(limit=5)
        assert page.etag == etag
        assert await api.transactions(limit=5, etag=page.etag) is None
        assert await api.transactions(limit=5, etag='"0x00"') == page


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("err-limit", "400 querystring/limit must be <= 50"),
        ("err-cursor", "400 querystring/cursor must match"),
        ("err-offset-max", "400 querystring/offset must be"),
        ("tx-multiple-no0x", "400 Hex string is missing"),
        ("deprecated-off-410", "410 This endpoint has been disabled"),
        (
            "err-route",
            r"404 Route GET:/extended/v3/nope not found \(the routes of API 9.0 or newer are needed",
        ),
        ("err-tx-no0x", "500 String value for bytea column"),
    ],
)
async def test_the_servers_own_words_are_in_the_error(cassette, recorded, name, text):
    fetcher: Fetcher = recorded._fetcher
    with cassette("errors"), pytest.raises(SourceUnavailable, match=text) as caught:
        await fetcher.get(recording(name)["request"]["path"])
    assert caught.value.url == "http://stacks-api.test"
    assert caught.value.retryable


async def test_a_missing_block_is_an_answer_but_not_where_a_route_always_answers(cassette, recorded, serve):
    with cassette("errors"):
        answer = await recorded._fetcher.get(recording("err-block-404-v3")["request"]["path"])
    assert answer.status == 404

    async def missing(request):
        return web.json_response(recording("err-block-404-v3")["body"], status=404)

    async with serve(missing) as api:
        assert await api.block_transactions(BLOCK_4) is None
        with pytest.raises(SourceUnavailable, match="404 for a route"):
            await api.transactions()


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.headers(limit=31),
        lambda api: api.headers(offset=-301),
        lambda api: api.headers(cursor="latest"),
        lambda api: api.header("0x12/../../secret"),
        lambda api: api.transactions(limit=51),
        lambda api: api.transactions(cursor="1:2:3&limit=1"),
        lambda api: api.block_transactions("5"),
        lambda api: api.details(["0x" + "AB" * 32]),
    ],
)
async def test_arguments_that_the_server_would_refuse_never_leave(recorded, call):
    with pytest.raises(ValueError):
        await call(recorded)
