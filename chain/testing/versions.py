"""Versions of the Stacks Blockchain API that the scripted one can speak, and what differs between them."""

from dataclasses import dataclass
from typing import Final, Literal

from chain.api.parse import parse_version

#: Names of the versions that tests run over, with their version numbers. ``sunset`` is a version of which the
#: operator has switched off every deprecated route.
VERSIONS: Final = {"9.0": "9.0.2", "9.1": "9.1.0", "9.7": "9.7.1", "sunset": "9.9.0"}

#: Routes that were deprecated before 9.0 …
_DEPRECATED: Final = frozenset({"transaction_v1"})
#: … by 9.2.0, and by 9.7.1.
_DEPRECATED_9_2: Final = frozenset({"tx_multiple"})
_DEPRECATED_9_7_1: Final = frozenset({"blocks", "block", "burn_block_blocks"})

_BATCH_HINT = "Use GET /extended/v3/transactions/batch"
_DOCS_HINT = "See https://docs.hiro.so/stacks/api for more information"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is not known of the routes of 9.7, and may be one way or the other."""

    #: The cursor of a row: its height, its index hash, or a text that says nothing.
    cursor: Literal["height", "hash", "opaque"] = "height"
    #: Whether rows of the list name their parent, as a single block does.
    parent_in_list: bool = False
    #: Whether even a single block names its parent.
    parent_in_block: bool = True
    #: Whether Bitcoin anchors have a hash.
    bitcoin_hash: bool = True
    max_limit: int = 30
    #: Names of v2 (``index_block_hash``, ``block_time`` …) instead of v3's.
    old_names: bool = False
    #: ETags of a transaction and its events: as of 9.0, weakened by a proxy, made otherwise, or none.
    tx_etags: Literal["known", "weak", "other", "none"] = "known"

    def tx_etag(self, etag: str) -> str | None:
        """Return the ETag to send instead of the one that 9.0 would."""
        match self.tx_etags:
            case "known":
                return etag
            case "weak":
                return f"W/{etag}"
            case "other":
                return etag[::-1]
            case "none":
                return None


@dataclass(frozen=True, slots=True)
class Features:
    """What a server of a version offers; ``number`` such as ``9.7.1``."""

    number: str

    def _since(self, *least: int) -> bool:
        version = parse_version(self.number)
        return version is not None and version >= least

    @property
    def has_transfers(self) -> bool:
        """Transfer lists of principals; siblings replace each other at once (9.1)."""
        return self._since(9, 1)

    @property
    def has_batch(self) -> bool:
        """``transactions/batch`` (9.2)."""
        return self._since(9, 2)

    @property
    def has_iso_times(self) -> bool:
        """``time_iso`` beside v3 times, and redirects of ids without 0x (9.6)."""
        return self._since(9, 6)

    @property
    def has_blocks(self) -> bool:
        """``v3/blocks``, ``v3/bitcoin-blocks``, and ``event_count`` in summaries (9.7)."""
        return self._since(9, 7)

    def deprecates(self, route: str) -> bool:
        """Whether a route of this name announces its end, and can be switched off."""
        return (
            route in _DEPRECATED
            or (route in _DEPRECATED_9_2 and self._since(9, 2))
            or (route in _DEPRECATED_9_7_1 and self._since(9, 7, 1))
        )

    def offers(self, route: str) -> bool:
        """Whether a route of this name exists."""
        if route in ("ft_transfers", "stx_inbound"):
            return self.has_transfers
        if route == "transactions_batch":
            return self.has_batch
        if route in ("blocks_v3", "block_v3", "bitcoin_blocks", "bitcoin_block", "bitcoin_block_blocks"):
            return self.has_blocks
        return True


def warning(route: str) -> str:
    """Return the ``Warning`` header of a deprecated route."""
    return f'299 - "Deprecated: {_BATCH_HINT if route in _DEPRECATED_9_2 else _DOCS_HINT}"'


def gone(route: str) -> dict[str, str]:
    """Return the body of a deprecated route that is switched off, with status 410."""
    hint = _BATCH_HINT if route in _DEPRECATED_9_2 else _DOCS_HINT
    return {"error": "Gone", "message": f"This endpoint has been disabled. {hint}"}
