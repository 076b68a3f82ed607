"""Ids that sort by time."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.ids import new_id

times = st.integers(0, 4_000_000_000_000)


@given(times, times, st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_the_millisecond_they_were_made_in(a, b, random_a, random_b):
    first = new_id("dlv_", a / 1000 + 0.0001, lambda _: random_a)
    second = new_id("dlv_", b / 1000 + 0.0001, lambda _: random_b)
    if a != b:
        assert (a < b) == (first < second)
    else:
        assert (random_a < random_b) == (first < second)


def test_an_id_is_the_prefix_and_26_characters():
    assert new_id("we_", 0, bytes) == "we_" + "0" * 26
    assert new_id("we_", 0, lambda count: b"\xff" * count) == "we_" + "0" * 10 + "Z" * 16


def test_two_ids_of_the_same_moment_differ():
    assert new_id("we_", 5) != new_id("we_", 5)
