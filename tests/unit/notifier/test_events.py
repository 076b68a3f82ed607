"""Event ids, canonical JSON and the envelope."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.events import (
    EventType,
    canonical_json,
    event_body,
    event_id,
    read_subscriptions,
    rfc3339,
)


def test_an_event_id_comes_from_intent_type_and_number_alone():
    assert event_id("pi_1", EventType.SUCCEEDED, 0) == event_id("pi_1", EventType.SUCCEEDED, 0)


@given(
    st.lists(
        st.tuples(st.text(), st.sampled_from(EventType), st.integers(0, 99)),
        min_size=2,
        max_size=20,
        unique=True,
    )
)
def test_event_ids_differ_and_hold_no_separator(keys):
    ids = [event_id(*key) for key in keys if "|" not in key[0]]
    assert len(set(ids)) == len(ids)
    assert all(len(id_) == 30 and id_.startswith("evt_") and "." not in id_ for id_ in ids)


def test_canonical_json_is_compact_utf8_in_the_given_order():
    assert canonical_json({"b": "€", "a": [1, None]}) == '{"b":"€","a":[1,null]}'.encode()


def test_canonical_json_refuses_what_is_not_json():
    with pytest.raises(ValueError):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1763668800, "2025-11-20T20:00:00.000Z"),
        (1763668800.9996, "2025-11-20T20:00:00.999Z"),
        (1763668800.25, "2025-11-20T20:00:00.250Z"),
    ],
)
def test_times_are_rfc3339_with_milliseconds(seconds, expected):
    assert rfc3339(seconds) == expected


def test_the_envelope_has_the_published_fields_in_order():
    body = event_body(id="evt_1", type=EventType.FAILED, created_at=0, sequence=3, data={"reason": None})
    assert list(json.loads(body).items()) == [
        ("id", "evt_1"),
        ("type", "payment.failed"),
        ("timestamp", "1970-01-01T00:00:00.000Z"),
        ("api_version", "2026-11-20"),
        ("sequence", 3),
        ("livemode", False),
        ("test", False),
        ("data", {"reason": None}),
    ]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "at least one of"),
        (["payment.paid"], "unknown event 'payment.paid'"),
        (["webhook.test"], "unknown event"),
    ],
)
def test_a_subscription_names_events_that_there_are(names: list[str], why: str) -> None:
    """Test events need no subscription, so there is no such one."""
    with pytest.raises(ValueError, match=why):
        read_subscriptions(names)


def test_a_subscription_holds_every_event_once_in_the_order_given() -> None:
    assert read_subscriptions(["payment.failed", "*", "payment.failed"]) == ["payment.failed", "*"]
