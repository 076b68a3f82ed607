"""What one API server offers, as far as its answers have shown it (pure).

Nothing is concluded from the version alone but what to try: a route is there when it answers, a field when an
object has it. A route that answered 410 is gone until the next probe, whatever version the server is of; one
that is unknown to the server is also tried again when that changes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from chain.api.parse import parse_version

#: Routes that have an end, by the path that they begin with.
MULTIPLE: Final = "tx/multiple"
V2_BLOCKS: Final = "v2/blocks"
#: Routes that not every version has, or that may end too.
TRANSFERS: Final = "principals/transfers"
PRINTS: Final = "smart-contracts/logs"
_ENDING: Final = {
    "/extended/v1/tx/multiple": MULTIPLE,
    "/extended/v2/blocks": V2_BLOCKS,
    "/extended/v3/principals/": TRANSFERS,
    "/extended/v2/smart-contracts/": PRINTS,
}

#: The first version with ``v3/blocks``.
BLOCKS_V3_SINCE: Final = (9, 7, 0)

#: A ``Warning`` header of a deprecated route: code 299.
_WARNING = re.compile(r"\s*299\b.*deprecated", re.IGNORECASE)


class Reading(StrEnum):
    """How the events of a server's transactions are read."""

    #: Those of many transactions at once, by ``tx/multiple``.
    BATCHES = "batches"
    #: The same, of transactions that have any.
    COUNTED_BATCHES = "counted_batches"
    #: Those of one transaction after the other.
    SINGLE = "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One server's; None of a flag: not known yet."""

    version: str | None = None
    #: ``v3/blocks`` answers, and in a form that can be read.
    has_blocks_v3: bool | None = None
    #: Summaries of transactions count their events.
    has_event_count: bool | None = None
    #: Routes that announced their end, and those of them that are switched off.
    deprecated: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    #: Routes that this version of the server does not know.
    absent: frozenset[str] = frozenset()

    def offers(self, route: str) -> bool:
        """Whether a route may answer."""
        return route not in self.gone and route not in self.absent

    @property
    def reading(self) -> Reading:
        """How events are read."""
        if not self.offers(MULTIPLE):
            return Reading.SINGLE
        return Reading.COUNTED_BATCHES if self.has_event_count else Reading.BATCHES

    @property
    def reads_blocks_v3(self) -> bool:
        """Whether headers are read from ``v3/blocks``: when the older route has ended, or says it will."""
        if not self.offers(V2_BLOCKS):
            return True
        version = parse_version(self.version or "")
        may = self.has_blocks_v3 is not False and (version is None or version >= BLOCKS_V3_SINCE)
        return V2_BLOCKS in self.deprecated and may

    def heard(self, path: str, headers: Mapping[str, str]) -> "Capabilities":
        """Return what is known after an answer of the route at ``path``."""
        known = self
        version = headers.get("x-api-version")
        if version is not None and (found := parse_version(version)) is not None:
            text = ".".join(map(str, found))
            if text != known.version:
                # Another version: what it lacked may be there now. A 410 waits for the next probe.
                known = replace(
                    known, version=text, has_blocks_v3=None, has_event_count=None, absent=frozenset()
                )
        route = ending_route(path)
        if route is not None and route not in known.deprecated and _warns(headers):
            known = replace(known, deprecated=known.deprecated | {route})
        return known

    def without(self, route: str, *, for_good: bool) -> "Capabilities":
        """Return what is known after a route answered that it is switched off, or that there is none."""
        if for_good:
            return replace(self, gone=self.gone | {route}, deprecated=self.deprecated | {route})
        return replace(self, absent=self.absent | {route})

    def with_again(self, route: str) -> "Capabilities":
        """Return what is known when a route that seemed gone has nothing to replace it: it is tried again."""
        return replace(self, gone=self.gone - {route}, absent=self.absent - {route})

    def forget_absences(self) -> "Capabilities":
        """Return what is known when everything that was not there is worth another try."""
        has_blocks_v3 = self.has_blocks_v3 or None
        # A 410 too: a gateway may have sent one by mistake.
        return replace(self, has_blocks_v3=has_blocks_v3, absent=frozenset(), gone=frozenset())


def ending_route(path: str) -> str | None:
    """Return the name of the route at ``path`` if it is one that may be missing."""
    return next((name for begin, name in _ENDING.items() if path.startswith(begin)), None)


def _warns(headers: Mapping[str, str]) -> bool:
    return _WARNING.match(headers.get("warning", "")) is not None
