"""Header window: links, verdicts, fork search, depth in Bitcoin blocks, trimming."""

import dataclasses
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chain.header_window import BrokenLink, HeaderWindow, Verdict, links
from chain.model import Block, BlockHeader, Extend, Reorg, parent_of_first


def make_headers(
    start: int, count: int, *, branch: str = "a", parent: str = "", per_burn: int = 5
) -> list[BlockHeader]:
    """A chain of ``count`` headers of one branch, ``per_burn`` of them to each Bitcoin block."""
    headers = []
    for height in range(start, start + count):
        headers.append(
            BlockHeader(
                height=height,
                hash=f"0x{branch}{height}",
                block_hash=f"0xb{branch}{height}",
                parent_hash=parent or f"0x{branch}{height - 1}",
                time=height * 10,
                burn_height=height // per_burn,
                burn_hash=f"0xburn{height // per_burn}",
                burn_time=height * 10,
                tx_count=1,
            )
        )
        parent = ""
    return headers


def blocks(headers: list[BlockHeader]) -> tuple[Block, ...]:
    return tuple(Block(header=header) for header in headers)


def test_links_needs_hash_and_height() -> None:
    first, second, third = make_headers(10, 3)
    assert links(first, [second, third])
    assert links(first, [])
    assert not links(first, [third])
    assert not links(first, [second, dataclasses.replace(third, height=13)])
    assert not links(first, [second, dataclasses.replace(third, parent_hash=first.hash)])


def test_the_block_before_the_first_one_is_what_that_names_as_its_parent() -> None:
    """No source has it; with its header the first block links like any other."""
    [first] = make_headers(1, 1)
    before = parent_of_first(first)
    assert (before.height, before.hash, before.time, before.tx_count) == (0, first.parent_hash, first.time, 0)
    assert links(before, [first])
    with pytest.raises(ValueError, match="height 1"):
        parent_of_first(make_headers(2, 1)[0])


def test_links_needs_every_block_once() -> None:
    """A cyclic chain would link for ever."""
    first, second, third = make_headers(10, 3)
    circle = dataclasses.replace(third, hash=first.hash)
    assert not links(first, [second, circle])
    assert not links(first, [second, third, dataclasses.replace(circle, height=13, parent_hash=third.hash)])


def test_an_empty_window_has_no_tip_and_no_headers() -> None:
    window = HeaderWindow()
    assert len(window) == 0
    assert window.at(0) is None
    assert window.headers == ()
    with pytest.raises(LookupError, match="bootstrap"):
        _ = window.tip
    with pytest.raises(LookupError, match="bootstrap"):
        _ = window.oldest


def test_headers_that_do_not_link_are_refused() -> None:
    with pytest.raises(BrokenLink, match="10 to 12"):
        HeaderWindow([*make_headers(10, 1), *make_headers(12, 1)])


def test_at_finds_exactly_the_heights_of_the_window() -> None:
    headers = make_headers(10, 5)
    window = HeaderWindow(headers)
    assert [window.at(height) for height in range(9, 16)] == [None, *headers, None]
    assert (window.oldest, window.tip) == (headers[0], headers[-1])


@pytest.mark.parametrize(
    ("height", "block_hash", "verdict"),
    [
        (14, "0xa14", Verdict.SAME),
        (14, "0xb14", Verdict.CONFLICT),
        (15, "0xa15", Verdict.AHEAD),
        (15, "0xb15", Verdict.AHEAD),
        (12, "0xa12", Verdict.LAGGING),
        (12, "0xb12", Verdict.CONFLICT),
        (10, "0xb10", Verdict.CONFLICT),
        (9, "0xb9", Verdict.LAGGING),
    ],
)
def test_only_another_hash_at_one_of_our_heights_is_a_conflict(
    height: int, block_hash: str, verdict: Verdict
) -> None:
    assert HeaderWindow(make_headers(10, 5)).judge(height, block_hash) is verdict


def test_extend_appends_and_a_step_that_does_not_fit_changes_nothing() -> None:
    headers = make_headers(10, 5)
    window = HeaderWindow(headers[:3])
    with pytest.raises(BrokenLink):
        window.apply(Extend(blocks=blocks(headers[4:]), tip=headers[4]))
    assert window.headers == tuple(headers[:3])
    window.apply(Extend(blocks=blocks(headers[3:]), tip=headers[4]))
    assert window.headers == tuple(headers)


def test_reorg_drops_what_is_above_the_ancestor() -> None:
    ours = make_headers(10, 5)
    theirs = make_headers(13, 1, branch="b", parent="0xa12")
    window = HeaderWindow(ours)
    window.apply(Reorg(ancestor=ours[2], blocks=blocks(theirs), tip=theirs[-1]))
    assert window.headers == (*ours[:3], *theirs)


def test_reorg_to_a_foreign_ancestor_is_refused() -> None:
    window = HeaderWindow(make_headers(10, 5))
    foreign = make_headers(12, 1, branch="b")[0]
    with pytest.raises(BrokenLink, match="not in the header window"):
        window.apply(Reorg(ancestor=foreign, blocks=(), tip=foreign))


def test_depth_is_counted_in_bitcoin_blocks() -> None:
    headers = make_headers(10, 11)
    window = HeaderWindow(headers)
    assert [window.burn_depth(header) for header in (headers[0], headers[4], headers[5], headers[10])] == [
        2,
        2,
        1,
        0,
    ]


@given(count=st.integers(1, 60), per_burn=st.integers(1, 7), keep=st.integers(0, 12))
@example(count=20, per_burn=1, keep=3)
def test_trimming_keeps_the_tip_and_exactly_the_young_headers(count: int, per_burn: int, keep: int) -> None:
    headers = make_headers(1, count, per_burn=per_burn)
    window = HeaderWindow(headers)
    window.trim(keep)
    tip = headers[-1]
    assert window.tip == tip
    assert window.headers == tuple(h for h in headers if tip.burn_height - h.burn_height <= keep)


@st.composite
def forks(draw: st.DrawFn) -> tuple[int, int, int]:
    """Headers in the window from 100 on, the newest shared height (99: none), a height that differs."""
    count = draw(st.integers(1, 400))
    shared = draw(st.integers(99, 100 + count - 2))
    return count, shared, draw(st.integers(shared + 1, 100 + count - 1))


@given(fork=forks())
@example(fork=(400, 249, 499))
@example(fork=(400, 497, 499))
@example(fork=(1, 99, 100))
def test_fork_search_finds_the_newest_shared_header_in_few_questions(fork: tuple[int, int, int]) -> None:
    count, shared, conflict = fork
    window = HeaderWindow(make_headers(100, count))
    search = window.search_fork(conflict)
    questions = []
    found: BlockHeader | None
    try:
        probe = next(search)
        while True:
            questions.append(probe)
            probe = search.send(f"0xa{probe}" if probe <= shared else f"0xb{probe}")
    except StopIteration as stop:
        found = stop.value
    assert found == window.at(shared)
    assert all(window.at(height) is not None for height in questions)
    assert len(questions) == len(set(questions))
    assert len(questions) <= 2 * math.log2(conflict - 99) + 2


@given(data=st.data(), kept=st.integers(1, 40), grown=st.integers(0, 40))
def test_any_reorg_leaves_the_window_equal_to_the_other_branch(
    data: st.DataObject, kept: int, grown: int
) -> None:
    dropped = data.draw(st.integers(0, 40))
    ours = make_headers(1, kept + dropped)
    ancestor = ours[kept - 1]
    theirs = make_headers(kept + 1, grown, branch="b", parent=ancestor.hash)
    window = HeaderWindow(ours)
    window.apply(Reorg(ancestor=ancestor, blocks=blocks(theirs), tip=(theirs or [ancestor])[-1]))
    assert window.headers == (*ours[:kept], *theirs)
