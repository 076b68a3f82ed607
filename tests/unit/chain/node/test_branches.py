"""The tree of a node's blocks: its canonical branch, and what lately extends its tip."""

import pytest

from chain.node import branches as module
from chain.node.branches import EXTENDS_SECONDS, Branches, Link


def linked(*chains: str) -> Branches:
    """Link blocks named by letters, each a child of the one before; equal letters are one block."""
    tree = Branches()
    for chain in chains:
        for n, name in enumerate(chain):
            tree.link(name, Link(n, chain[n - 1] if n else "-"))
    return tree


def told(*chains: str, at: float = 100.0) -> Branches:
    """Tell of blocks named as in :func:`linked`."""
    tree = Branches()
    for chain in chains:
        for n, name in enumerate(chain):
            tree.tell(name, Link(n, chain[n - 1] if n else "-"), at=at)
    return tree


def canonical(tree: Branches, top: int = 9) -> str:
    return "".join(tree.at(height) or "." for height in range(top)).rstrip(".")


def test_the_canonical_branch_is_linked_down_from_the_tip() -> None:
    """Another tip replaces what differs, above and below."""
    tree = linked("abcde", "abxy")
    tree.set_tip(4, "e")
    assert canonical(tree) == "abcde"
    tree.set_tip(3, "y")
    assert canonical(tree) == "abxy"
    assert (tree.is_canonical("x"), tree.is_canonical("c"), tree.is_canonical("?")) == (True, False, False)


def test_below_an_unknown_block_nothing_is_canonical() -> None:
    """Its hash is known from its child, its parent is not."""
    tree = linked("abc")
    tree.set_tip(2, "c")
    tree.link("f", Link(5, "e"))
    tree.set_tip(5, "f")
    assert canonical(tree) == "....ef"
    tree.confirm(3, "d")
    tree.confirm(5, "?")
    tree.set_tip(5, "f")
    assert canonical(tree) == "...def"
    assert tree.find("f") == Link(5, "e")
    assert tree.find("d") is None


def test_a_block_at_a_height_that_does_not_follow_is_not_linked() -> None:
    """A post may claim any height."""
    tree = linked("ab")
    tree.link("z", Link(7, "b"))
    tree.tell("z", Link(7, "b"), at=0.0)
    tree.set_tip(2, "z")
    assert canonical(tree) == "..z"
    assert tree.told_above(1, "b", now=0.0) == []


def test_a_tip_may_be_extended_by_what_was_told_lately() -> None:
    """The last one told comes first, as on an API; what is older is the RPC's to confirm."""
    tree = told("abcd", "abx")
    assert tree.told_above(1, "b", now=100.0) == ["x", "c"]
    assert tree.told_above(2, "c", now=100.0 + EXTENDS_SECONDS) == ["d"]
    assert tree.told_above(2, "c", now=100.1 + EXTENDS_SECONDS) == []
    assert told("abc", at=float("-inf")).told_above(0, "a", now=0.0) == []
    assert (tree.is_told("d", now=100.0), tree.is_told("?", now=100.0)) == (True, False)
    assert not tree.is_told("d", now=100.1 + EXTENDS_SECONDS)


def test_what_is_told_links_nothing() -> None:
    """Something else than the node may post."""
    tree = told("abc")
    tree.set_tip(2, "c")
    assert canonical(tree) == "..c"
    assert tree.find("c") is None


def test_a_block_that_is_linked_or_told_again_changes_nothing() -> None:
    """Not even where it is, or when it came."""
    tree = linked("ab")
    tree.link("b", Link(9, "z"))
    assert tree.find("b") == Link(1, "a")
    tree = told("ab")
    tree.tell("b", Link(9, "z"), at=500.0)
    assert tree.told_above(8, "z", now=500.0) == []
    assert not tree.is_told("b", now=500.0)


def test_few_told_blocks_are_remembered_and_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever posts a thousand children costs the node some requests."""
    monkeypatch.setattr(module, "MAX_TOLD", 3)
    monkeypatch.setattr(module, "MAX_CHILDREN", 2)
    tree = told("ab", "ac", "ad", "ae")
    assert tree.told_above(0, "a", now=100.0) == ["e", "d"]
    assert [tree.is_told(name, now=100.0) for name in "abcde"] == [True, False, False, True, True]


def test_the_first_blocks_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with a canonical one what is below it."""
    monkeypatch.setattr(module, "MAX_BLOCKS", 4)
    tree = linked("abcd")
    tree.set_tip(3, "d")
    tree.link("x", Link(1, "a"))
    assert canonical(tree) == "abcd"
    tree.link("e", Link(4, "d"))
    assert tree.find("b") is None
    assert canonical(tree) == ".bcd"
    tree.set_tip(4, "e")
    assert canonical(tree) == ".bcde"
    for n, name in enumerate("fgh"):
        tree.link(name, Link(5 + n, "efg"[n]))
    assert tree.find("x") is None
    assert canonical(tree) == "...de"
