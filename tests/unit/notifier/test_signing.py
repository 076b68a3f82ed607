"""Signatures against the published vectors and the public verifiers."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from notifier.signing import make_secret, secret_key, signature_headers, standard_signature

OLD = make_secret(bytes(range(32)))
CURRENT = make_secret(bytes(range(32, 64)))
BODY = '{"type":"payment.succeeded","data":{"note":"€ 12 – bezahlt"}}'.encode()


@pytest.mark.parametrize(
    ("secret", "id_", "timestamp", "body", "expected"),
    [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1649367553,
            b'{"email":"test@example.com","username":"test_user"}',
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ],
)
def test_the_reference_vectors_of_the_standard_come_out(secret, id_, timestamp, body, expected):
    assert expected == standard_signature(secret, id=id_, timestamp=timestamp, body=body)


def test_the_vector_stands_in_the_header_as_it_is():
    headers = signature_headers(
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize("secret", [OLD, CURRENT])
@pytest.mark.parametrize("legacy_v0", [False, True])
def test_every_public_verifier_accepts_both_secrets_during_a_rotation(secret, legacy_v0):
    headers = signature_headers(
        id="evt_1", timestamp=int(time.time()), body=BODY, secrets=[OLD, CURRENT], legacy_v0=legacy_v0
    )
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    SvixWebhook(secret).verify(BODY, headers)
    event = stripe.Webhook.construct_event(BODY, headers["X-Webhook-Signature"], secret)
    assert event["type"] == "payment.succeeded"


def test_the_public_verifiers_refuse_another_secret():
    """Proves that the verifiers above can reject."""
    headers = signature_headers(id="evt_1", timestamp=int(time.time()), body=BODY, secrets=[OLD])
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(CURRENT).verify(BODY, headers)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(BODY, headers["X-Webhook-Signature"], CURRENT)


def test_the_old_signature_comes_first_and_exactly_one_space_lies_between():
    headers = signature_headers(id="evt_1", timestamp=1, body=BODY, secrets=[OLD, CURRENT])
    first, second = headers["webhook-signature"].split(" ")
    assert first == standard_signature(OLD, id="evt_1", timestamp=1, body=BODY)
    assert second == standard_signature(CURRENT, id="evt_1", timestamp=1, body=BODY)


def test_the_stripe_form_is_what_the_stripe_library_would_have_written():
    headers = signature_headers(id="evt_1", timestamp=1700000000, body=BODY, secrets=[CURRENT])
    expected = stripe.WebhookSignature.generate_signature_header(BODY.decode(), CURRENT, 1700000000)
    assert headers["X-Webhook-Signature"] == expected


def test_v0_is_the_plain_hmac_of_the_body_and_only_there_when_asked_for():
    plain = signature_headers(id="e", timestamp=1, body=BODY, secrets=[CURRENT])["X-Webhook-Signature"]
    legacy = signature_headers(id="e", timestamp=1, body=BODY, secrets=[CURRENT], legacy_v0=True)
    added = legacy["X-Webhook-Signature"].removeprefix(plain)
    assert "v0=" not in plain
    assert added == ",v0=" + hmac.new(CURRENT.encode(), BODY, "sha256").hexdigest()


@given(st.binary(min_size=32, max_size=32), st.text(), st.integers(0, 4_000_000_000))
def test_the_public_library_signs_the_same(random, text, timestamp):
    secret, body = make_secret(random), text.encode("utf-8", "surrogatepass")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return
    moment = datetime.fromtimestamp(timestamp, UTC)
    expected = Webhook(secret).sign(msg_id="evt_x", timestamp=moment, data=text)
    assert standard_signature(secret, id="evt_x", timestamp=timestamp, body=body) == expected


def test_a_secret_is_the_prefix_and_the_base64_of_32_bytes():
    secret = make_secret(bytes(32))
    assert secret == "whsec_" + base64.b64encode(bytes(32)).decode()
    assert secret_key(secret) == bytes(32)


@pytest.mark.parametrize("bad", ["", "abc", "sk_AAAA", "whsec_***", "whsec_A"])
def test_a_text_that_is_no_secret_is_refused(bad):
    with pytest.raises(ValueError, match="a webhook secret"):
        secret_key(bad)


def test_a_secret_of_another_length_is_not_made():
    with pytest.raises(ValueError, match="32 random bytes, not 24"):
        make_secret(bytes(24))


def test_nothing_goes_out_unsigned():
    with pytest.raises(ValueError, match="at least one secret"):
        signature_headers(id="e", timestamp=1, body=b"{}", secrets=[])
