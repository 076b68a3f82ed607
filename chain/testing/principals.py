"""Made-up principals with valid checksums, for tests."""

import hashlib
from functools import lru_cache

from chain.address import c32check_encode


@lru_cache(maxsize=4096)
def principal(label: str, mainnet: bool = True) -> str:
    """Return the single-sig address of ``label``, always the same: SP… on mainnet, else ST…."""
    return c32check_encode(22 if mainnet else 26, hashlib.sha256(f"principal {label}".encode()).digest()[:20])


def principals(count: int, *, prefix: str = "p", mainnet: bool = True) -> list[str]:
    """Return ``count`` different addresses: those of ``p0``, ``p1``, …"""
    return [principal(f"{prefix}{number}", mainnet) for number in range(count)]
