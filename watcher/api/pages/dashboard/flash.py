"""What a page says of what was done just before: a short text in its address, signed by the session, so that
nobody else makes a page say anything.
"""

import base64
import hmac

#: How long such a text is shown, seconds: a page that is loaded again later says nothing old.
SHOWN_SECONDS = 60

_MARK_BYTES = 16


def sign(text: str, secret: str, *, now: float) -> str:
    """Return a text as the page's address carries it."""
    data = f"{int(now)}|{text}".encode()
    return base64.urlsafe_b64encode(_mark(data, secret) + data).decode().rstrip("=")


def read(said: str, secret: str, *, now: float) -> str | None:
    """Return the text, None when it is another session's, old, or none at all."""
    try:
        found = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))
    except ValueError:
        return None
    mark, data = found[:_MARK_BYTES], found[_MARK_BYTES:]
    if not hmac.compare_digest(mark, _mark(data, secret)):
        return None
    at, _, text = data.decode().partition("|")
    return text if abs(now - int(at)) <= SHOWN_SECONDS else None


def _mark(data: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"said|" + data, "sha256")[:_MARK_BYTES]
