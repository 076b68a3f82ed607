"""Errors of following a chain, sorted by who has to act.

::

    ChainError
    ├── SourceError                 a source cannot serve now; retry later or use another source
    │   ├── SourceUnavailable       no connection, timeout, 5xx, 431, a page instead of an API
    │   │   └── NotHeld             a block that an own node does not keep; of newer ones it serves
    │   ├── SourceLimited           the source asks to wait: 429, or its own limits (``retry_after``)
    │   ├── SourceMalformed         the answer is not what the API promises: shape, size, numbers
    │   ├── SourceRefused           401 or 403: the key is wrong or missing (``hint``)
    │   └── SourceInconsistent      two answers of one source contradict each other: read again
    └── OperatorNeeded              waiting does not help by itself; an operator decides (``hint``)
        ├── WrongNetwork            the source serves another network than the settings name
        ├── UnsupportedVersion      the source's server is older than the routes this program uses
        ├── ReorgTooDeep            the fork is below the finality depth
        └── SourcesDisagree         two healthy sources have different blocks at one height

``SourceError`` is retryable (``retryable`` says so) except ``SourceRefused``: another source may still serve.
"""

from typing import ClassVar


class ChainError(Exception):
    """Base of all errors that this package raises deliberately."""


class SourceError(ChainError):
    """The source cannot serve this request now; the cursor must not move because of it."""

    #: Whether the same request may work later without an operator.
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, url: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {message}" if url else message)
        #: Base URL of the source; empty when the error is not about a single one.
        self.url = url
        #: Seconds after which a retry makes sense; None when unknown.
        self.retry_after = retry_after


class SourceUnavailable(SourceError):
    """The source gave no usable answer: connection error, timeout, server error, a proxy's page."""


class NotHeld(SourceUnavailable):
    """The source does not keep this block, which is of the past; it serves newer ones."""


class SourceLimited(SourceError):
    """The source allows no request for ``retry_after`` seconds (our own budget is waited for)."""


class SourceMalformed(SourceError):
    """The answer violates the API: not JSON, another shape, too large, impossible numbers."""


class SourceRefused(SourceError):
    """The source rejects the API key; ``hint`` says what to change."""

    retryable = False

    def __init__(self, message: str, *, url: str = "", hint: str = "") -> None:
        super().__init__(message, url=url)
        self.hint = (
            hint or "Check this source's api_key in the settings; the host refuses the key, or asks for one."
        )


class SourceInconsistent(SourceError):
    """Two answers of one source show different snapshots of the chain; read both again."""


class OperatorNeeded(ChainError):
    """Waiting alone may not help; ``hint`` says what the operator should check and do."""

    #: Stable name, as ``status`` shows it and the runbook explains it.
    code: ClassVar[str]

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class WrongNetwork(OperatorNeeded):
    """A source serves another network than the settings name."""

    code = "wrong_network"

    def __init__(self, url: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{url} serves {found}, but the settings say {expected}",
            hint=f"Point this source at a {expected} API, or change the network setting "
            "(with its own database).",
        )
        self.url = url
        self.expected = expected
        self.found = found


class UnsupportedVersion(OperatorNeeded):
    """A source's server is too old: it lacks routes that this program reads."""

    code = "unsupported_version"

    def __init__(self, url: str, *, version: str, minimum: str) -> None:
        super().__init__(
            f"{url} runs {version}, but {minimum} or newer is needed",
            hint=f"Upgrade that server to {minimum} or newer, or use another source.",
        )
        self.url = url
        self.version = version
        self.minimum = minimum


class ReorgTooDeep(OperatorNeeded):
    """The chain forked below the finality depth, so statuses reported as final may be wrong."""

    code = "reorg_too_deep"

    def __init__(self, *, fork_height: int, burn_depth: int) -> None:
        super().__init__(
            f"the chain forked at or below height {fork_height}, {burn_depth} Bitcoin blocks below the "
            "cursor's block: it drops blocks that are final by finality_burn_blocks",
            hint=(
                "Compare the sources with an explorer. If the new branch is right: "
                f"sbtc-watcher reindex --from {fork_height} --accept-reorg --reason '…'. "
                "If a source is wrong, remove it; following goes on by itself when a source has the "
                "known branch."
            ),
        )
        #: Height of the newest block that both branches share, or an upper bound of it.
        self.fork_height = fork_height
        #: Bitcoin blocks between that block and the cursor's.
        self.burn_depth = burn_depth


class SourcesDisagree(OperatorNeeded):
    """Two healthy sources have different canonical blocks at one height."""

    code = "sources_disagree"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(
            message,
            hint=hint
            or "Compare both sources with an explorer and remove the wrong one; "
            "following goes on when they agree.",
        )
