"""Check a webhook: whether its signature is right, and not older than five minutes."""

import base64
import hashlib
import hmac
import json
import time


def verify(body: bytes, headers: dict[str, str], secret: str) -> dict[str, object]:
    """Return the event of a request: its raw body, its headers by lower-case name. ValueError if forged."""
    sent = headers["webhook-timestamp"]
    if abs(time.time() - int(sent)) > 300:
        raise ValueError("too old")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{sent}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    if not any(hmac.compare_digest(one, expected) for one in headers["webhook-signature"].split(" ")):
        raise ValueError("no signature fits")
    event: dict[str, object] = json.loads(body)
    return event
