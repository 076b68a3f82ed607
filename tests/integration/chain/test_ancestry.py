"""Ancestry by hash: headers that do not link are refused, and an error loses no headers already read."""

import pytest

from chain.ancestry import HeaderAncestry, height_at
from chain.api.client import StacksApi
from chain.errors import SourceError, SourceInconsistent
from chain.testing import ScriptedApi, ScriptedChain

START = 1_800_000_000


def grown(n: int = 200) -> ScriptedChain:
    chain = ScriptedChain(time=START)
    chain.mine(n=n)
    return chain


def kept(chain: ScriptedChain, low: int) -> list:
    return [block.header for block in chain.blocks if block.header.height >= low]


async def test_every_hash_down_to_a_height_is_known_and_linked():
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290))
    walked = []

    async def on_walk(headers) -> None:
        walked.append(headers[-1].height)

    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 215, on_walk=on_walk)
        assert api.counts["blocks"] == 3, "one request for thirty blocks"
        assert [ancestry.hash_at(height) for height in range(215, 301)] == [
            chain.header(height).hash for height in range(215, 301)
        ]
        assert (ancestry.hash_at(214), ancestry.hash_at(301)) == (None, None)
        assert (ancestry.oldest, ancestry.top, ancestry.is_whole) == (chain.header(215), chain.tip, False)
        assert walked == [260, 230, 215]
        assert await ancestry.header(source, 220) == chain.header(220)
        assert await ancestry.header(source, 295) == chain.header(295)
        await source.aclose()


async def test_heights_that_are_kept_cost_no_request():
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 290)
        assert api.requests == []
        await source.aclose()


async def test_it_ends_where_the_chain_begins():
    chain = grown(20)
    ancestry = HeaderAncestry(kept(chain, 115))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 1)
        assert (ancestry.oldest.height, ancestry.is_whole) == (100, True)
        api.clear()
        await ancestry.trace(source, 1)
        assert api.requests == []
        await source.aclose()


async def test_after_an_error_it_goes_on_where_it_stopped():
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        api.before("blocks", lambda _: api.faults.fail(503) and None, nth=3)
        with pytest.raises(SourceError):
            await ancestry.trace(source, 150)
        reached = ancestry.oldest.height
        assert reached == 230
        api.clear()
        await ancestry.trace(source, 150)
        assert api.counts["blocks"] == 3
        assert ancestry.hash_at(151) == chain.header(151).hash
        await source.aclose()


async def test_a_source_on_another_branch_is_found_out():
    chain = grown()
    known = kept(chain, 290)
    branch = chain.fork(120, keep="follow")
    branch.mine(n=200)
    branch.promote()
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        with pytest.raises(SourceInconsistent, match="does not have block 290"):
            await HeaderAncestry(known).trace(source, 110)
        await source.aclose()


async def test_a_block_that_is_gone_from_a_source_is_not_a_base():
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 250)
        branch = chain.fork(200, keep="follow")
        branch.mine(n=10)
        branch.promote()
        with pytest.raises(SourceInconsistent, match="does not have block 260"):
            await ancestry.header(source, 260)
        await source.aclose()


@pytest.mark.parametrize(
    ("time", "height"), [(0, 100), (START, 100), (START + 1, 101), (START + 995, 200), (START + 9999, 300)]
)
async def test_the_first_block_that_is_not_older_is_found(time: int, height: int):
    chain = grown()
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        assert await height_at(source, time, low=1, high=300) == height
        assert len(api.requests) <= 10
        await source.aclose()


def known(chain: ScriptedChain, top: int, low: int) -> tuple[int, list[bytes]]:
    """Return what an earlier trace found from one height down to another."""
    return top, [bytes.fromhex(chain.header(height).hash[2:]) for height in range(top, low - 1, -1)]


@pytest.mark.parametrize("top", [289, 275, 260])
async def test_what_an_earlier_trace_found_is_not_asked_for_again(top: int):
    """The trace reaches it, and continues below it with one request for the header there."""
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290), known(chain, top, 130))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 110)
        assert api.counts["blocks"] == (1 if top == 289 else 2)
        assert api.counts["block"] == 1
        await source.aclose()
    assert [ancestry.hash_at(height) for height in range(110, 301)] == [
        chain.header(height).hash for height in range(110, 301)
    ]


async def test_what_an_earlier_trace_found_of_another_chain_is_left():
    chain, other = grown(), ScriptedChain(time=START, seed="other")
    other.mine(n=200)
    ancestry = HeaderAncestry(kept(chain, 290), known(other, 280, 130))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 110)
        await source.aclose()
    assert [ancestry.hash_at(height) for height in range(110, 301)] == [
        chain.header(height).hash for height in range(110, 301)
    ]


async def test_a_source_that_does_not_have_what_an_earlier_trace_found_fails():
    chain = grown()
    ancestry = HeaderAncestry(kept(chain, 290), known(chain, 289, 130))
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        api.faults.tamper = lambda route, body: {"error": "gone"} if route == "block" else body
        api.faults.fail(404, times=None, route="block")
        with pytest.raises(SourceError):
            await ancestry.trace(source, 110)
        await source.aclose()


async def test_block_0_which_nobody_has_is_never_asked_for():
    chain = ScriptedChain(time=START, height=1)
    chain.mine(n=20)
    top, hashes = known(chain, 9, 1)
    ancestry = HeaderAncestry(
        kept(chain, 10), (top, [*hashes, bytes.fromhex(chain.header(1).parent_hash[2:])])
    )
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        await ancestry.trace(source, 0)
        await source.aclose()
    assert ancestry.hash_at(0) == chain.header(1).parent_hash
    assert ancestry.hash_at(1) == chain.header(1).hash
