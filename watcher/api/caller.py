"""Who calls, as routes and transactions see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated caller. ``merchant`` None: an operator."""

    merchant: str | None
    #: As operator actions record it: ``key:key_…``, or ``admin``.
    actor: str
    #: None for an operator.
    key_id: str | None = None

    @property
    def scope(self) -> str:
        """The namespace of the caller's idempotency keys."""
        return self.merchant or "operator"
