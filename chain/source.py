"""The interface of a source of the chain: an API server, or an own node."""

from collections.abc import Collection, Sequence
from typing import Protocol

from chain.api.capabilities import Capabilities
from chain.api.dates import ServerDates
from chain.api.parse import ApiStatus, TxDetail, TxPage, TxSummary
from chain.api.parse_mempool import PendingPage
from chain.api.transport import Limiter
from chain.model import BlockHeader


class ChainSource(Protocol):
    """A source of the canonical chain; ``chain.api.client.StacksApi`` describes the calls.

    Every method raises ``SourceError`` when it cannot serve.
    """

    #: Rate limiter of the requests; the pool sets it.
    limiter: Limiter | None
    #: Clocks of the pool's servers; the pool sets one object for all of its sources.
    dates: ServerDates

    @property
    def url(self) -> str:
        """Base URL without credentials and trailing slash: the source's name."""

    @property
    def minimum_version(self) -> tuple[int, int, int]:
        """Oldest version of the server that has what is read."""

    @property
    def is_metered(self) -> bool:
        """Whether requests count against the settings' budgets."""

    @property
    def capabilities(self) -> Capabilities | None:
        """What the server offers, as far as its answers have shown; None where there is but one way."""

    @property
    def holds_past(self) -> bool:
        """Whether blocks of any age are read from it; else only when no other source serves."""

    @property
    def note(self) -> str | None:
        """What a person should know about it now, for ``status``."""

    def forget_absences(self) -> None:
        """Try again what was not there, as after an upgrade of the server."""

    async def aclose(self) -> None:
        """Close the connections."""

    async def status(self) -> ApiStatus:
        """Version of the server, and its newest block."""

    async def network_id(self) -> int | None:
        """Network id of the node; None when it does not say."""

    async def headers(
        self, *, limit: int = 30, cursor: str | None = None, offset: int = 0, height: int | None = None
    ) -> tuple[BlockHeader, ...] | None:
        """Canonical headers, newest first; None when block ``cursor`` is not canonical.

        ``height``: the cursor's, if known.
        """

    async def header(self, ref: int | str) -> BlockHeader | None:
        """The canonical block of a height or an index hash."""

    async def transactions(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """Canonical transactions of all blocks, newest first; None when ``etag`` still holds."""

    async def block_transactions(
        self, index_hash: str, *, cursor: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """A canonical block's transactions, last one first; None without such a canonical block."""

    async def mempool(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> PendingPage | None:
        """Pending transactions, newest first; None when ``etag`` still holds."""

    async def details(self, tx_ids: Sequence[str], *, with_args: bool = False) -> dict[str, TxDetail]:
        """Status and all events of each transaction, in the given order; unknown ids are included."""

    async def details_of(
        self, rows: Sequence[TxSummary], *, args_of: Collection[str] = ()
    ) -> dict[str, TxDetail]:
        """As ``details``, of listed transactions, with the arguments of at least ``args_of``."""
