"""Webhook verification for merchants. One file, standard library only: import it or copy it.

::

    event = verify(body, headers, secret)  # raises Rejected: answer 400
    if event.test:                         # a sample: nothing of it happened
        return 204
    if not first_time(event.id):           # e.g. INSERT … ON CONFLICT DO NOTHING in the shop's own database
        return 204                         # delivered before: at least once means sometimes twice
    if event.type == "payment.succeeded":
        ship(event.intent["metadata"]["order_id"])
    return 204

``body`` must be the bytes as they arrived, not JSON that was parsed and written again. The algorithm is that
of Standard Webhooks (https://www.standardwebhooks.com); any of its libraries does the same.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: Largest age of a webhook, or lead over this machine's clock, seconds.
TOLERANCE = 300.0

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_PREFIX = "whsec_"


class Rejected(ValueError):
    """Not a genuine webhook, or too old: answer 400 and do nothing. The message says why, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Verified webhook."""

    #: The same at every retry and resend: use it to recognize duplicates.
    id: str
    #: ``payment.succeeded``, …; ignore types that you do not know.
    type: str
    #: When it happened.
    timestamp: datetime
    api_version: str
    #: Increases within a payment intent; an event with a lower number than the last one is outdated.
    sequence: int
    data: dict[str, Any]
    #: Sent to try the endpoint: nothing of it happened, whatever its type says. Do nothing for it.
    test: bool = False

    @property
    def intent(self) -> dict[str, Any]:
        """The payment intent as it was at that moment; KeyError for ``webhook.test``, which has none."""
        intent: dict[str, Any] = self.data["payment_intent"]
        return intent

    @property
    def reason(self) -> str | None:
        """Reason, for ``payment.failed`` and ``payment.attention``."""
        return self.data.get("reason")

    @property
    def supersedes(self) -> str | None:
        """Id of an earlier event that this one replaces, e.g. after a reorganisation of the chain."""
        return self.data.get("supersedes")


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float | None = TOLERANCE,
    now: float | None = None,
) -> Event:
    """Verify a webhook and return its event, or raise :class:`Rejected`.

    Header names may be in any case. ``secrets`` is the endpoint's ``whsec_…``, or several of which one must
    match. ``tolerance`` is in seconds; None accepts any age, for old requests. ``now`` is a unix time, by
    default this machine's. ValueError if a secret is malformed.
    """
    keys = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    lowered = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (_ID, _TIMESTAMP, _SIGNATURE) if not lowered.get(name)]
    if missing:
        raise Rejected(f"no header {', '.join(missing)}")
    timestamp = lowered[_TIMESTAMP]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Rejected(f"{_TIMESTAMP} is no number of seconds")
    if tolerance is not None:
        _check_age(int(timestamp), tolerance, time.time() if now is None else now)
    signed = f"{lowered[_ID]}.{timestamp}.".encode("utf-8", "surrogateescape") + body
    expected = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    # All are compared, so that the duration reveals nothing.
    fits = [hmac.compare_digest(one, other) for one in _signatures(lowered[_SIGNATURE]) for other in expected]
    if not any(fits):
        raise Rejected("no signature fits: another secret, or a body that is not as it was sent")
    return _parse(body)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        raise ValueError(
            f"a webhook secret is {_PREFIX} and base64, as it was shown when the endpoint was added"
        )
    return key


def _check_age(timestamp: int, tolerance: float, now: float) -> None:
    age = now - timestamp
    if abs(age) > tolerance:
        way = "old" if age > 0 else "ahead of this machine's clock"
        raise Rejected(f"it is {abs(age):.0f} s {way}, {tolerance:.0f} s are allowed; is the clock right?")


def _signatures(header: str) -> list[bytes]:
    """Return the ``v1`` signatures; everything else is skipped."""
    found = []
    for part in header.split():
        version, _, text = part.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (ValueError, binascii.Error):
                continue
    return found


def _parse(body: bytes) -> Event:
    try:
        document = json.loads(body)
        return Event(
            id=document["id"],
            type=document["type"],
            timestamp=datetime.fromisoformat(document["timestamp"]),
            api_version=document["api_version"],
            sequence=document["sequence"],
            data=document["data"],
            test=document.get("test") is True or document["type"] == "webhook.test",
        )
    except (ValueError, KeyError, TypeError) as error:
        # Signed with our secret but malformed: not by this sender.
        raise Rejected(f"the body is no event: {error!r}") from error
