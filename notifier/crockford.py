"""Crockford's base32 (pure)."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def crockford(number: int) -> str:
    """Return the lowest 130 bits of a number as 26 characters."""
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
