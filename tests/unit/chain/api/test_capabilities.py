"""What a server offers, concluded from its answers."""

import pytest

from chain.api.capabilities import MULTIPLE, V2_BLOCKS, Capabilities, Reading, ending_route

PATH = "/extended/v1/tx/multiple?tx_id=0x"
WARNS = {"warning": '299 - "Deprecated: Use GET /extended/v3/transactions/batch"'}


def test_a_warning_marks_its_route_as_deprecated_and_no_other() -> None:
    """Code 299 with the word, of a route that has a replacement."""
    known = Capabilities().heard(PATH, WARNS)
    assert known.deprecated == {MULTIPLE}
    assert known.offers(MULTIPLE)
    assert known.heard(PATH, WARNS) is known
    assert not Capabilities().heard("/extended/v1/tx/0x", WARNS).deprecated
    assert not Capabilities().heard(PATH, {"warning": "110 - stale"}).deprecated
    assert ending_route("/extended/v2/blocks/latest") == V2_BLOCKS


def test_another_version_brings_back_what_was_absent_but_not_what_was_switched_off() -> None:
    """An upgrade is a reason to try again; an unreadable version is none."""
    known = Capabilities(version="9.0.2", has_blocks_v3=False, has_event_count=False)
    known = known.without(MULTIPLE, for_good=True).without(V2_BLOCKS, for_good=False)
    assert not known.offers(V2_BLOCKS)
    assert known.heard("/extended", {"x-api-version": "devel"}) is known
    assert known.heard("/extended", {"x-api-version": "v9.0.2 (main:759c4a586)"}) is known
    upgraded = known.heard("/extended", {"x-api-version": "v9.7.1 (main:1)"})
    assert upgraded == Capabilities(
        version="9.7.1", gone=frozenset({MULTIPLE}), deprecated=frozenset({MULTIPLE})
    )
    again = known.forget_absences()
    assert (again.has_blocks_v3, again.absent, again.gone) == (None, frozenset(), frozenset())
    assert again.deprecated == {MULTIPLE}, "it is still said to end"
    assert Capabilities(has_blocks_v3=True).forget_absences().has_blocks_v3
    assert known.with_again(MULTIPLE).with_again(V2_BLOCKS).offers(MULTIPLE)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Capabilities(), False),
        (Capabilities(deprecated=frozenset({V2_BLOCKS})), True),
        (Capabilities(deprecated=frozenset({V2_BLOCKS}), version="9.6.0"), False),
        (Capabilities(deprecated=frozenset({V2_BLOCKS}), version="9.7.1"), True),
        (Capabilities(deprecated=frozenset({V2_BLOCKS}), has_blocks_v3=False), False),
        (Capabilities(has_blocks_v3=False).without(V2_BLOCKS, for_good=True), True),
        (Capabilities(version="9.0.2").without(V2_BLOCKS, for_good=False), True),
    ],
)
def test_headers_are_read_by_v3_when_the_older_route_ends_and_v3_may_be_there(
    known: Capabilities, expected: bool
) -> None:
    """While the older route says nothing, the one that is known best is used."""
    assert known.reads_blocks_v3 is expected


def test_events_are_read_in_batches_as_long_as_there_are_any() -> None:
    """Where the number of events is known, those without any are left out; without batches, one by one."""
    assert Capabilities().reading is Reading.BATCHES
    counted = Capabilities(has_event_count=True)
    assert counted.reading is Reading.COUNTED_BATCHES
    assert counted.without(MULTIPLE, for_good=True).reading is Reading.SINGLE
    assert counted.without(MULTIPLE, for_good=False).reading is Reading.SINGLE
