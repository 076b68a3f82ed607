"""Passwords of payment links: hashed by scrypt, and tokens that say that somebody knew one."""

import hashlib
import hmac
import os
import re
import threading
import unicodedata
from base64 import b64decode, b64encode

from notifier.ids import Entropy

#: The cost of one hash: 16 MiB of memory, and about a tenth of a second.
_LOG2_N, _R, _P = 14, 8, 5
_MEMORY = 2 * 128 * _R * 2**_LOG2_N

_SALT_BYTES = 16

#: How many are hashed at the same time in one process: the others wait, so that memory and cores are bounded.
MAX_AT_ONCE = 2

#: How long a token is good, seconds: for choosing an amount, not for keeping.
UNLOCKED_SECONDS = 3_600

_STORED = re.compile(r"scrypt\$(\d+)\$(\d+)\$(\d+)\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)", re.ASCII)
_TOKEN = re.compile(r"(\d{1,12})\.([0-9a-f]{64})", re.ASCII)

_at_once = threading.BoundedSemaphore(MAX_AT_ONCE)


def hash_password(password: str, *, entropy: Entropy = os.urandom) -> str:
    """Return the text that is stored of a password. Takes its time: call it before the transaction."""
    salt = entropy(_SALT_BYTES)
    made = _scrypt(password, salt, _LOG2_N, _R, _P)
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(made).decode()}"


def is_password(password: str, stored: str) -> bool:
    """Return whether a password is the stored one. Takes its time, the same for every password."""
    parts = _STORED.fullmatch(stored)
    assert parts is not None, "hash_password() wrote it"
    log2_n, r, p = (int(number) for number in parts.groups()[:3])
    salt, expected = b64decode(parts[4]), b64decode(parts[5])
    return hmac.compare_digest(_scrypt(password, salt, log2_n, r, p), expected)


def unlock_token(link: str, stored: str, *, now: float) -> str:
    """Return a token that is good for a while, as long as the link has this password."""
    until = int(now) + UNLOCKED_SECONDS
    return f"{until}.{_mac(link, stored, until)}"


def is_unlocked(token: str, link: str, stored: str, *, now: float) -> bool:
    """Return whether a token is one of this link and its present password, and still good."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return False
    until = int(parts[1])
    return hmac.compare_digest(parts[2], _mac(link, stored, until)) and now < until


def _mac(link: str, stored: str, until: int) -> str:
    # Only the database has the salted hash, and it changes with the password.
    return hmac.new(stored.encode(), f"unlocked {link} {until}".encode(), hashlib.sha256).hexdigest()


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    # As keyboards differ in how they write the same character.
    text = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    with _at_once:
        return hashlib.scrypt(text, salt=salt, n=2**log2_n, r=r, p=p, maxmem=_MEMORY, dklen=32)
