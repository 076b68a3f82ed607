"""Look an event's claims up in the chain that a Stacks API shows: no database, no settings, few requests."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from chain.api.client import StacksApi
from chain.api.transport import Timeouts
from chain.errors import ChainError, SourceLimited, SourceUnavailable, WrongNetwork
from chain.source_check import check_source
from watcher import __version__
from watcher.domain.model import ChainClock
from watcher.domain.proof import ClaimedPayment, Comparison, ShownBlock, Verdict, compare
from watcher.errors import UsageError
from watcher.indexer.block_reading import read_block_of

#: Requests to one API, and seconds for all of them: an event with one transfer takes about six.
MAX_REQUESTS = 1_000
MAX_SECONDS = 300.0

_TIMEOUTS = Timeouts(connect=5.0, read=15.0, total=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """What one API said about an event."""

    url: str
    comparison: Comparison
    #: What could not be checked of the API itself, such as its network; None if nothing.
    remark: str | None = None


class _RequestLimit:
    """Limiter that lets a number of requests pass, and no more."""

    def __init__(self) -> None:
        self._left = MAX_REQUESTS

    async def acquire(self) -> None:
        """Let the request pass, or raise ``SourceLimited``."""
        if self._left <= 0:
            raise SourceLimited(f"more than {MAX_REQUESTS:,} requests would be needed")
        self._left -= 1

    def observe(self, code: int, seconds: float, headers: Mapping[str, str]) -> None:
        """Record nothing."""


async def look_up_everywhere(urls: list[str], claimed: ClaimedPayment) -> list[LookUp]:
    """Look an event up at each API, at the same time; results in the order of ``urls``.

    Raises :class:`UsageError` for what is no URL of an API, and for an API of another network.
    """
    apis = [_open(url) for url in dict.fromkeys(urls)]
    found = await asyncio.gather(*(_look_up(api, claimed) for api in apis), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, LookUp)]


def _open(url: str) -> StacksApi:
    try:
        return StacksApi(url, user_agent=f"sbtc-watcher/{__version__}", timeouts=_TIMEOUTS)
    except Exception as error:  # also httpx's InvalidURL
        raise UsageError(f"--api: {error}") from None


async def _look_up(api: StacksApi, claimed: ClaimedPayment) -> LookUp:
    api.limiter = _RequestLimit()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            remark = await check_source(api, await api.status(), claimed.network.name)
            shown = {
                block_hash: await _show(api, claimed, block_hash, height)
                for block_hash, height in {one.block_hash: one.height for one in claimed.moves}.items()
            }
            comparison = compare(claimed, shown, await _tip(api))
    except WrongNetwork as error:
        raise UsageError(
            f"--api: {error.url} serves {error.found}, but the event is of {error.expected}"
        ) from None
    except TimeoutError:
        return _unknown(api, f"no complete answer within {MAX_SECONDS:.0f} s")
    except ChainError as error:
        return _unknown(api, str(error).removeprefix(api.url).lstrip(": "))
    finally:
        await api.aclose()
    return LookUp(url=api.url, comparison=comparison, remark=remark)


async def _show(api: StacksApi, claimed: ClaimedPayment, block_hash: str, height: int) -> ShownBlock:
    header = await api.header(block_hash)
    if header is None:
        other = await api.header(height)
        return ShownBlock(header=None, hash_at_height=None if other is None else other.hash)
    reading = await read_block_of(api, header, claimed.rules, claimed.fetch_rules)
    return ShownBlock(header=header, hash_at_height=header.hash, reading=reading)


async def _tip(api: StacksApi) -> ChainClock:
    newest = await api.headers(limit=1)
    if not newest:
        raise SourceUnavailable("it has no blocks", url=api.url)
    [tip] = newest
    return ChainClock(height=tip.height, hash=tip.hash, time=tip.time, burn_height=tip.burn_height)


def _unknown(api: StacksApi, reason: str) -> LookUp:
    return LookUp(url=api.url, comparison=Comparison(verdict=Verdict.UNKNOWN, reasons=(reason,)))
