"""Merchants' verification helper: what it accepts and rejects, and that it needs only Python."""

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from notifier import verify as helper
from notifier.events import EventType, event_body, rfc3339
from notifier.signing import make_secret, signature_headers
from notifier.verify import Event, Rejected, verify

SECRET, OTHER = make_secret(bytes(range(32))), make_secret(bytes(range(32, 64)))
NOW = 1_800_000_000
BODY = event_body(
    id="evt_1",
    type=EventType.FAILED,
    created_at=NOW - 1.5,
    sequence=3,
    data={"payment_intent": {"id": "pi_1", "note": "€"}, "reason": "reorged", "supersedes": "evt_0"},
)


def signed(body=BODY, secrets=(SECRET,), at=NOW):
    return signature_headers(id="evt_1", timestamp=at, body=body, secrets=list(secrets))


def test_a_genuine_webhook_becomes_an_event():
    event = verify(BODY, signed(), SECRET, now=NOW)
    assert event == Event(
        id="evt_1",
        type="payment.failed",
        timestamp=datetime.fromtimestamp(NOW - 1.5, UTC),
        api_version="2026-11-20",
        sequence=3,
        data=json.loads(BODY)["data"],
    )
    assert (event.intent["id"], event.reason, event.supersedes) == ("pi_1", "reorged", "evt_0")


def test_a_test_event_has_no_intent_and_no_reason():
    body = event_body(id="evt_1", type=EventType.TEST, created_at=NOW, sequence=1, data={"message": "x"})
    event = verify(body, signed(body), SECRET, now=NOW)
    assert (event.reason, event.supersedes) == (None, None)
    with pytest.raises(KeyError):
        _ = event.intent


@pytest.mark.parametrize(
    ("kind", "test", "expected"),
    [(EventType.SUCCEEDED, False, False), (EventType.SUCCEEDED, True, True), (EventType.TEST, False, True)],
)
def test_an_event_says_whether_it_is_a_test_whatever_its_type(kind, test, expected):
    """Those stored before the mark existed are of the type ``webhook.test``."""
    data = {"payment_intent": {"id": "pi_1"}}
    body = event_body(id="evt_1", type=kind, created_at=NOW, sequence=1, data=data, test=test)
    assert verify(body, signed(body), SECRET, now=NOW).test is expected


def test_an_event_without_the_mark_is_no_test():
    """As they were stored by earlier versions."""
    old = {name: value for name, value in json.loads(BODY).items() if name not in ("livemode", "test")}
    body = json.dumps(old).encode()
    assert verify(body, signed(body), SECRET, now=NOW).test is False


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_header_names_are_taken_in_any_case(change):
    verify(BODY, {change(name): value for name, value in signed().items()}, SECRET, now=NOW)


def test_during_a_rotation_either_secret_does_at_either_side():
    for mine in (SECRET, OTHER, [SECRET, OTHER]):
        verify(BODY, signed(secrets=[SECRET, OTHER]), mine, now=NOW)
    verify(BODY, signed(), [OTHER, SECRET], now=NOW)


def test_what_another_library_signed_is_taken():
    moment = datetime.fromtimestamp(NOW, UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": Webhook(SECRET).sign(msg_id="msg_1", timestamp=moment, data=BODY.decode()),
    }
    assert verify(BODY, headers, SECRET, now=NOW).id == "evt_1"


@pytest.mark.parametrize("junk", ["v1", "v1,***", "v2,AAAA", "v1a,AAAA", ",", "v1,AAAA"])
@pytest.mark.parametrize("form", ["{junk} {good}", "{good} {junk}", "  {good}\t{junk} "])
def test_signatures_of_other_kinds_and_broken_ones_beside_a_good_one_do_no_harm(junk, form):
    headers = signed()
    headers["webhook-signature"] = form.format(junk=junk, good=headers["webhook-signature"])
    verify(BODY, headers, SECRET, now=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"webhook-signature": ""}, "no header webhook-signature"),
        ({"webhook-id": "", "webhook-timestamp": ""}, "no header webhook-id, webhook-timestamp"),
        ({"webhook-id": "evt_2"}, "no signature fits"),
        ({"webhook-signature": "v1"}, "no signature fits"),
        ({"webhook-signature": "v2,AAAA"}, "no signature fits"),
        ({"webhook-timestamp": str(NOW + 1)}, "no signature fits"),
        ({"webhook-timestamp": "soon"}, "no number of seconds"),
        ({"webhook-timestamp": "-5"}, "no number of seconds"),
        ({"webhook-timestamp": "9" * 5000}, "no number of seconds"),
        ({"webhook-timestamp": "²"}, "no number of seconds"),
    ],
)
def test_a_changed_header_is_rejected_with_the_reason(change, message):
    with pytest.raises(Rejected, match=message):
        verify(BODY, signed() | change, SECRET, now=NOW)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_changed_byte_of_the_body_is_rejected(index, flip):
    body = bytearray(BODY)
    body[index] ^= flip
    with pytest.raises(Rejected, match="no signature fits"):
        verify(bytes(body), signed(), SECRET, now=NOW)


def test_another_secret_is_rejected():
    with pytest.raises(Rejected, match="no signature fits"):
        verify(BODY, signed(), OTHER, now=NOW)
    with pytest.raises(Rejected):
        verify(BODY, signed(), [], now=NOW)


@pytest.mark.parametrize(("age", "accepted"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_age_is_checked_both_ways(age, accepted):
    if accepted:
        verify(BODY, signed(at=NOW - age), SECRET, now=NOW)
    else:
        with pytest.raises(Rejected, match=r"301 s .* 300 s are allowed"):
            verify(BODY, signed(at=NOW - age), SECRET, now=NOW)


def test_the_tolerance_can_be_set_and_left_out():
    with pytest.raises(Rejected, match="10 s old, 5 s are allowed"):
        verify(BODY, signed(at=NOW - 10), SECRET, now=NOW, tolerance=5)
    verify(BODY, signed(at=5), SECRET, now=NOW, tolerance=None)


def test_without_a_time_this_machines_clock_counts():
    with pytest.raises(Rejected, match=r"s old|clock"):
        verify(BODY, signed(at=1_000_000_000), SECRET)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"id":1}', BODY.replace(b"2027", b"x")]
)
def test_a_body_that_is_no_event_is_rejected_although_the_signature_fits(body):
    with pytest.raises(Rejected, match="is no event"):
        verify(body, signed(body), SECRET, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", "sk_live_1"])
def test_a_secret_that_is_none_is_an_error_of_the_shops_settings(secret):
    with pytest.raises(ValueError, match="a webhook secret is") as caught:
        verify(BODY, signed(), secret, now=NOW)
    assert not isinstance(caught.value, Rejected)


def test_a_secret_may_come_without_its_prefix_and_with_a_line_end():
    verify(BODY, signed(), SECRET.removeprefix("whsec_") + "\n", now=NOW)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40)), st.binary(max_size=60))
def test_a_hostile_request_is_rejected_and_nothing_else(headers, body):
    with pytest.raises(Rejected):
        verify(body, headers, SECRET, now=NOW)
    with pytest.raises(Rejected):
        verify(body, {"webhook-id": "x", "webhook-timestamp": str(NOW)} | headers, SECRET, now=NOW)


def test_the_file_runs_alone(tmp_path):
    """Merchants may copy the file: it works without any installed package and without our other modules."""
    copied = tmp_path / "verify.py"
    copied.write_bytes(Path(helper.__file__).read_bytes())
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import base64, verify; "
        f"body = base64.b64decode({base64.b64encode(BODY).decode()!r}); "
        f"e = verify.verify(body, {signed()!r}, {SECRET!r}, now={NOW}); "
        f"assert e.id == 'evt_1' and 'notifier' not in sys.modules"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, timeout=30)


def test_timestamps_as_they_are_written_are_read():
    assert datetime.fromisoformat(rfc3339(NOW + 0.25)) == datetime.fromtimestamp(NOW + 0.25, UTC)
