"""The outcome of one scene: which webhooks were expected, and which arrived."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Expected and arrived webhooks of a scene, by :func:`watcher.demo.words.event_name`."""

    title: str
    expected: tuple[str, ...]
    seconds: float = 0.0
    #: Webhooks that the shop verified and accepted, one entry per arrival.
    arrived: list[str] = field(default_factory=list)
    attempts: int = 0
    #: Requests with an invalid signature.
    refused: int = 0

    @property
    def missing(self) -> list[str]:
        """Expected webhooks that did not arrive."""
        return sorted((Counter(self.expected) - Counter(self.arrived)).elements())

    @property
    def unexpected(self) -> list[str]:
        """Webhooks that arrived unexpectedly, or more than once."""
        return sorted((Counter(self.arrived) - Counter(self.expected)).elements())

    @property
    def good(self) -> bool:
        """Whether exactly the expected webhooks arrived."""
        return not (self.missing or self.unexpected or self.refused)
