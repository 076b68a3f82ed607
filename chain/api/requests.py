"""Requests to one API server: bounded, observed, and parsed; shared by the readers of its routes."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

import structlog

from chain.api.capabilities import Capabilities, ending_route
from chain.api.dates import ServerDates
from chain.api.parse_fields import Malformed
from chain.api.transport import Answer, Fetcher, RouteAbsent, RouteGone
from chain.errors import ChainError, SourceMalformed, SourceUnavailable

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class Requests:
    """GET requests to one server, and what its answers have shown of it."""

    def __init__(
        self, fetcher: Fetcher, *, max_body: int, on_unforeseen: Callable[[Exception], None]
    ) -> None:
        self.fetcher = fetcher
        self.max_body = max_body
        #: Clocks of the pool's servers.
        self.dates = ServerDates()
        self.capabilities = Capabilities()
        self._on_unforeseen = on_unforeseen

    @property
    def url(self) -> str:
        """Base URL without credentials and trailing slash."""
        return self.fetcher.url

    async def get(
        self,
        path: str,
        *,
        etag: str | None = None,
        cap: int | None = None,
        missing: Collection[int] = (404,),
    ) -> Answer:
        """GET ``path``; ``missing`` are statuses that mean "no such thing" if the API says them itself.

        Raises ``SourceError``; ``RouteGone`` and ``RouteAbsent`` are remembered.
        """
        cap = self.max_body if cap is None else cap
        try:
            answer = await self.fetcher.get(path, etag=etag, cap=cap, missing=missing)
            self.dates.observe(self.url, answer.headers)
        except (RouteGone, RouteAbsent) as error:
            self._lost(path, for_good=isinstance(error, RouteGone))
            raise
        except ChainError:
            raise
        except Exception as error:
            # Whatever a foreign server sends is that source's failure, and must not stop the daemon.
            self._on_unforeseen(error)
            raise SourceUnavailable(f"unforeseen {type(error).__name__}", url=self.url) from error
        self._heard(path, answer)
        return answer

    def counts_events(self, counted: bool) -> None:
        """Note whether a list's rows count their events."""
        if self.capabilities.has_event_count is not counted:
            self.capabilities = replace(self.capabilities, has_event_count=counted)

    def there(self, answer: Answer) -> Answer:
        """Refuse a 404 of a route that exists whatever the state of the chain."""
        if answer.status == 404:
            raise SourceUnavailable("404 for a route that API 9.0 and newer always answer", url=self.url)
        return answer

    def parse(self, answer: Answer, read: Callable[[object], _T]) -> _T:
        """Read the JSON of an answer. Raises ``SourceMalformed``."""
        try:
            return read(self.fetcher.json(answer))
        except Malformed as error:
            raise SourceMalformed(str(error), url=self.url) from error
        except ChainError:
            raise
        except Exception as error:
            self._on_unforeseen(error)
            raise SourceMalformed(
                f"it cannot be read: unforeseen {type(error).__name__}", url=self.url
            ) from error

    def _heard(self, path: str, answer: Answer) -> None:
        before = self.capabilities
        self.capabilities = before.heard(path, answer.headers)
        if new := self.capabilities.deprecated - before.deprecated:
            _log.info(
                "source.deprecated_route",
                action="source.deprecated_route",
                source=self.url,
                routes=sorted(new),
                version=self.capabilities.version,
            )

    def _lost(self, path: str, *, for_good: bool) -> None:
        route = ending_route(path)
        if route is None or not self.capabilities.offers(route):
            return
        self.capabilities = self.capabilities.without(route, for_good=for_good)
        _log.info(
            "source.route_gone",
            action="source.route_gone",
            source=self.url,
            routes=[route],
            for_good=for_good,
            version=self.capabilities.version,
        )
