"""ULIDs: 48 bits of milliseconds and 80 random bits in Crockford's base32, so that ids sort by time."""

import os
from collections.abc import Callable

from notifier.crockford import crockford

#: Returns that many random bytes.
Entropy = Callable[[int], bytes]


def new_id(prefix: str, now: float, entropy: Entropy = os.urandom) -> str:
    """Return ``prefix`` and 26 characters; ids of different milliseconds sort in the order of ``now``."""
    milliseconds = int(now * 1000) & ((1 << 48) - 1)
    number = (milliseconds << 80) | int.from_bytes(entropy(10), "big")
    return prefix + crockford(number)


def first_id(prefix: str, at: float) -> str:
    """Return the lowest id that is made at a time or after it."""
    return new_id(prefix, max(0.0, at), bytes)
