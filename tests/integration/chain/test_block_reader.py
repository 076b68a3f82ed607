"""Reading blocks whose headers are known: completeness, details, and no mixing of snapshots."""

from collections.abc import AsyncIterator, Sequence

import pytest
import structlog

from chain.api.client import StacksApi
from chain.block_reader import read_blocks
from chain.errors import SourceInconsistent, SourceMalformed
from chain.model import Block, BlockHeader, FetchRules, TransferEvent, TxStatus, UnknownWord
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.tx import Tx
from chain.testing.txs import SBTC_CONTRACT
from tests.integration.chain.follower_fixture import true_block

PAYER, MERCHANT = principal("payer"), principal("merchant")
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))


@pytest.fixture
def chain() -> ScriptedChain:
    return ScriptedChain()


@pytest.fixture
async def api(chain: ScriptedChain) -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi(chain, ping_interval=None) as server:
        yield server


@pytest.fixture
async def source(api: ScriptedApi) -> AsyncIterator[StacksApi]:
    client = StacksApi(api.url)
    yield client
    await client.aclose()


def truth(chain: ScriptedChain, headers: Sequence[BlockHeader], rules: FetchRules) -> tuple[Block, ...]:
    return tuple(true_block(chain.block(header.hash), rules) for header in headers)


def mine(chain: ScriptedChain, *blocks: Sequence[Tx]) -> list[BlockHeader]:
    return [chain.mine(block) for block in blocks]


def pay(amount: int, **extra: str) -> Tx:
    return txs.sbtc_transfer(PAYER, MERCHANT, amount, memo=b"INV-1", **extra)


async def test_every_kind_of_transaction_comes_out_as_it_was_mined(
    chain: ScriptedChain, source: StacksApi
) -> None:
    headers = [
        chain.mine(
            [
                pay(1),
                txs.stx_transfer(PAYER, MERCHANT, 2, memo=b"INV-2"),
                txs.token_transfer_many(PAYER, [(MERCHANT, 3, b"A"), (MERCHANT, 4, None)]),
                txs.peg_in(MERCHANT, 5),
                txs.fake_token(PAYER, MERCHANT, 6, memo=b"INV-6"),
                txs.deploy(f"{PAYER}.thing"),
                pay(7, status="abort_by_response"),
                pay(8, status="abort_by_post_condition"),
                pay(9, status="problematic_skipped"),
                pay(10, status="a_status_of_the_future"),
                txs.fake_token(PAYER, MERCHANT, 11, status="abort_by_response"),
                txs.stx_transfer(PAYER, MERCHANT, 12, status="abort_by_response"),
            ],
            burn=True,
        )
    ]
    (block,) = await read_blocks(source, headers, WATCHING)
    assert (block,) == truth(chain, headers, WATCHING)
    # Coinbase and tenure change are 0 and 1; failures of others are left out.
    assert [tx.tx_index for tx in block.transactions] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [tx.status for tx in block.transactions[6:]] == [
        TxStatus.ABORT_BY_RESPONSE,
        TxStatus.ABORT_BY_POST_CONDITION,
        TxStatus.PROBLEMATIC_SKIPPED,
        TxStatus.UNKNOWN,
    ]
    assert all(tx.events == () for tx in block.transactions[6:])
    assert block.unknown == {UnknownWord("status", "a_status_of_the_future")}


async def test_an_stx_transfer_needs_no_request_of_its_own(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [txs.stx_transfer(PAYER, MERCHANT, 2, memo=b"INV-2")])
    (block,) = await read_blocks(source, headers, WATCHING)
    (transaction,) = block.transactions
    assert transaction.events == (
        TransferEvent(
            rank=0, asset="STX", sender=PAYER, recipient=MERCHANT, amount=2, memo=b"INV-2".ljust(34, b"\0")
        ),
    )
    assert api.counts["tx_multiple"] == 0


async def test_arguments_are_read_for_watched_contracts_only(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(1), txs.fake_token(PAYER, MERCHANT, 2), pay(3, status="abort_by_response")])
    (block,) = await read_blocks(source, headers, WATCHING)
    args = [tx.call.args if tx.call is not None else None for tx in block.transactions]
    assert args == [chain.block(headers[0].hash).txs[0].args, None, chain.block(headers[0].hash).txs[2].args]
    # What fits one request is one request.
    assert api.counts["tx_multiple"] == 1
    (plain,) = await read_blocks(source, headers, FetchRules())
    assert [tx.call.args for tx in plain.transactions if tx.call is not None] == [None, None]
    assert api.requests[-1].query["exclude_function_args"] == "true"


async def test_many_calls_are_asked_for_in_groups_of_100(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    watched = [pay(amount) for amount in range(1, 131)]
    others = [txs.fake_token(PAYER, MERCHANT, amount) for amount in range(1, 131)]
    headers = mine(chain, watched, others)
    assert await read_blocks(source, headers, WATCHING) == truth(chain, headers, WATCHING)
    asked = [
        (len(request.query["tx_id"].split(",")), "exclude_function_args" not in request.query)
        for request in api.requests
        if request.route == "tx_multiple"
    ]
    assert sorted(asked) == [(30, False), (30, True), (100, False), (100, True)]


async def test_a_page_that_was_read_before_saves_a_request(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, *[[pay(amount)] for amount in range(1, 11)])
    page = await source.transactions()
    api.clear()
    assert await read_blocks(source, headers, WATCHING, page=page) == truth(chain, headers, WATCHING)
    assert await read_blocks(source, headers[:5], WATCHING, page=page) == truth(chain, headers[:5], WATCHING)
    assert api.counts == {"tx_multiple": 2}


async def test_a_page_of_other_heights_is_not_used(chain: ScriptedChain, source: StacksApi) -> None:
    headers = mine(chain, [pay(1)])
    mine(chain, [pay(amount) for amount in range(2, 80)])
    page = await source.transactions()
    assert await read_blocks(source, headers, WATCHING, page=page) == truth(chain, headers, WATCHING)


async def test_only_part_of_a_page_is_taken_when_newer_blocks_share_it(
    chain: ScriptedChain, source: StacksApi
) -> None:
    headers = mine(chain, *[[pay(amount)] for amount in range(1, 6)])
    mine(chain, [pay(amount) for amount in range(6, 10)])
    page = await source.transactions()
    for count in range(1, 6):
        part = headers[:count]
        assert await read_blocks(source, part, WATCHING, page=page) == truth(chain, part, WATCHING)


async def test_the_first_block_of_a_chain_can_be_read(chain: ScriptedChain, source: StacksApi) -> None:
    headers = [chain.header(100), *mine(chain, [pay(1)])]
    assert await read_blocks(source, headers, WATCHING) == truth(chain, headers, WATCHING)


def drop_rows(rows: int) -> object:
    """A list of the whole chain that lost rows, as a replica in the middle of an update may serve it."""

    def lie(route: str, body: dict) -> dict:
        return {**body, "results": body["results"][rows:]} if route == "transactions" else body

    return lie


async def test_a_listing_with_missing_rows_is_read_again_block_by_block(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(1)], [pay(2), pay(3)], [pay(amount) for amount in range(4, 70)])
    api.faults.tamper = drop_rows(3)
    assert await read_blocks(source, headers, WATCHING) == truth(chain, headers, WATCHING)
    # Only the newest block lacked rows; it is paged by its hash.
    asked = [request.path for request in api.requests if request.route == "block_transactions"]
    assert len(asked) == 2
    assert all(headers[2].hash in path for path in asked)


async def test_a_tx_count_that_the_list_does_not_have_raises_an_alarm_and_the_list_counts(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    (good,) = mine(chain, [pay(1), pay(2)])
    for claimed in (1, 3, 2**53):
        header = BlockHeader(**{name: getattr(good, name) for name in good.__slots__} | {"tx_count": claimed})
        with structlog.testing.capture_logs() as logs:
            (block,) = await read_blocks(source, [header], WATCHING)
        assert block.transactions == truth(chain, [good], WATCHING)[0].transactions
        (alarm,) = logs
        assert (alarm["event"], alarm["log_level"]) == ("block.tx_count_differs", "error")
        assert (alarm["tx_count"], alarm["listed"]) == (claimed, 2)


@pytest.mark.parametrize(
    "lie",
    [
        lambda body: {**body, "results": body["results"][1:]},
        lambda body: {**body, "results": [body["results"][0]] * len(body["results"])},
        lambda body: {
            **body,
            "results": [{**row, "block": {**row["block"], "height": 7}} for row in body["results"]],
        },
        lambda body: {
            **body,
            "results": [
                {**row, "block": {**row["block"], "hash": "0x" + "ab" * 32}} for row in body["results"]
            ],
        },
    ],
    ids=["row missing", "one row again and again", "height", "block hash"],
)
async def test_a_block_list_that_contradicts_itself_or_the_header_is_refused(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi, lie: object
) -> None:
    headers = mine(chain, [pay(1), pay(2), pay(3)])
    assert callable(lie)
    api.faults.tamper = lambda route, body: lie(body) if "transactions" in route else body
    with pytest.raises(SourceInconsistent, match="transaction list of block"):
        await read_blocks(source, headers, WATCHING)


async def test_a_list_that_goes_in_circles_ends(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(amount) for amount in range(1, 70)])
    first = await source.block_transactions(headers[0].hash)
    assert first is not None

    def lie(route: str, body: dict) -> dict:
        if "transactions" in route:
            return {**body, "cursor": {**body["cursor"], "next": f"{headers[0].height}:2147483647:68"}}
        return body

    api.clear()
    api.faults.tamper = lie
    with pytest.raises(SourceInconsistent):
        await read_blocks(source, headers, WATCHING)
    assert len(api.requests) < 10


async def test_an_orphaned_block_is_not_read_as_empty(chain: ScriptedChain, source: StacksApi) -> None:
    headers = mine(chain, [pay(1)], [pay(2)])
    chain.reorg(1, [[], []])
    with pytest.raises(SourceInconsistent, match="its transactions are not"):
        await read_blocks(source, headers, WATCHING)
    assert await read_blocks(source, headers[:1], WATCHING) == truth(chain, headers[:1], WATCHING)


async def test_a_reorg_between_pages_of_one_block_is_noticed(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    crowd = [pay(amount) for amount in range(1, 121)]
    headers = mine(chain, crowd)
    api.before("transactions", lambda _: chain.reorg(1, [crowd[:60], crowd[60:]]) and None, nth=2)
    with pytest.raises(SourceInconsistent):
        await read_blocks(source, headers, WATCHING)


async def test_events_of_another_branch_are_not_taken(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(1)])
    api.before("tx_multiple", lambda _: chain.reorg(1, [[txs.with_amount(pay(1), 999)], []]) and None)
    with pytest.raises(SourceInconsistent, match="events are those of another block"):
        await read_blocks(source, headers, WATCHING)


async def test_events_that_a_slower_replica_lacks_are_asked_for_once_more(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(1)], [pay(2)])
    api.before("tx_multiple", lambda _: api.lag(1))
    api.before("tx_multiple", lambda _: api.lag(0), nth=2)
    assert await read_blocks(source, headers, WATCHING) == truth(chain, headers, WATCHING)
    # Only what was missing is asked for again.
    assert api.requests[-1].query["tx_id"] == chain.block(headers[1].hash).txs[-1].tx_id


@pytest.mark.parametrize(
    "change",
    [
        {"tx_status": "abort_by_response"},
        {"canonical": False},
        {"block_height": 7},
        {"block_hash": "0x" + "ab" * 32},
    ],
)
async def test_details_must_agree_with_the_listing(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi, change: dict[str, object]
) -> None:
    headers = mine(chain, [pay(1)])

    def lie(route: str, body: dict) -> dict:
        if route == "tx_multiple":
            for entry in body.values():
                entry["result"].update(change)
        return body

    api.faults.tamper = lie
    with pytest.raises(SourceInconsistent):
        await read_blocks(source, headers, WATCHING)


async def test_a_watched_call_served_as_something_else_is_malformed(
    chain: ScriptedChain, api: ScriptedApi, source: StacksApi
) -> None:
    headers = mine(chain, [pay(1)])

    def lie(route: str, body: dict) -> dict:
        if route == "tx_multiple":
            for entry in body.values():
                entry["result"]["tx_type"] = "coinbase"
        return body

    api.faults.tamper = lie
    with pytest.raises(SourceMalformed, match="without its arguments"):
        await read_blocks(source, headers, WATCHING)
