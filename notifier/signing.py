# ruff: noqa: A002 (an id is called id)
"""Webhook signatures (pure): Standard Webhooks, and the form that the public Stripe libraries verify.

One secret, two keys: the key of Standard Webhooks is the decoded base64 after ``whsec_``, that of the other
header is the secret's whole text. During a rotation every valid secret signs, the current one last, because
naive parsers keep the last value they see.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 (a prefix, not a secret)
SECRET_BYTES = 32


def make_secret(random: bytes) -> str:
    """Return the secret ``whsec_…`` for :data:`SECRET_BYTES` random bytes."""
    if len(random) != SECRET_BYTES:
        raise ValueError(f"a webhook secret is made of {SECRET_BYTES} random bytes, not {len(random)}")
    return SECRET_PREFIX + base64.b64encode(random).decode()


def secret_key(secret: str) -> bytes:
    """Return the key bytes that Standard Webhooks signs with; ValueError if the secret is malformed."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a webhook secret is {SECRET_PREFIX} and standard base64") from error


def standard_signature(secret: str, *, id: str, timestamp: int, body: bytes) -> str:
    """Return one ``v1,<base64>`` over ``id.timestamp.body``."""
    digest = hmac.digest(secret_key(secret), f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def text_key_hmac(secret: str, message: bytes) -> str:
    """Return a message's HMAC-SHA256 in lower-case hex; the key is the secret's text with ``whsec_``."""
    return hmac.digest(secret.encode(), message, hashlib.sha256).hex()


def signature_headers(
    *,
    id: str,
    timestamp: int,
    body: bytes,
    secrets: Sequence[str],
    legacy_v0: bool = False,
) -> dict[str, str]:
    """Return the signature headers of one attempt.

    ``timestamp`` is the attempt's unix second, ``secrets`` all valid ones with the current one last.
    ``legacy_v0`` adds an HMAC of the body alone, which can be replayed for ever once one delivery has leaked.
    """
    if not secrets:
        raise ValueError("a webhook is signed with at least one secret")
    standard = [standard_signature(secret, id=id, timestamp=timestamp, body=body) for secret in secrets]
    parts = [f"t={timestamp}"]
    parts += ["v1=" + text_key_hmac(secret, f"{timestamp}.".encode() + body) for secret in secrets]
    if legacy_v0:
        parts += ["v0=" + text_key_hmac(secret, body) for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        # Exactly one space: the Python library raises on anything else, and the endpoint would answer 500.
        "webhook-signature": " ".join(standard),
        "X-Webhook-Signature": ",".join(parts),
    }
