"""The outcome of one scene: which webhooks were expected, and which arrived."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a scene came to. Webhooks are named as :func:`watcher.demo.words.event_name` does."""

    title: str
    expected: tuple[str, ...]
    seconds: float = 0.0
    #: Webhooks that were verified and taken by the shop, once for every time.
    arrived: list[str] = field(default_factory=list)
    attempts: int = 0
    #: Requests whose signature the library refused.
    refused: int = 0

    @property
    def missing(self) -> list[str]:
        """What should have arrived and did not."""
        return sorted((Counter(self.expected) - Counter(self.arrived)).elements())

    @property
    def unexpected(self) -> list[str]:
        """What arrived and should not have, or arrived more than once."""
        return sorted((Counter(self.arrived) - Counter(self.expected)).elements())

    @property
    def good(self) -> bool:
        """Whether exactly what was expected arrived."""
        return not (self.missing or self.unexpected or self.refused)
