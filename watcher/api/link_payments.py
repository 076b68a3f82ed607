"""What payers do with payment links, each in a transaction, within limits that need no database.

The limits are in bounded memory: a guesser must not be able to make the database write. A restart forgets
them, and each process has its own, which gives a few attempts more and no way around them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from watcher.api.errors import rate_limited
from watcher.api.link_views import LinkViews
from watcher.api.rate_limit import RateLimit
from watcher.api.worker_threads import WorkerThreads
from watcher.config.settings import Settings
from watcher.errors import Refused
from watcher.indexer.settler import Settler
from watcher.schemas import StartPayment
from watcher.services import passwords
from watcher.services.link_payments import LinkPaymentService
from watcher.store.database import Connection

#: Payments that one address may start per minute.
STARTS_OF_ADDRESS = 10

#: Wrong passwords per hour: of one address for one link, and of all addresses for one link.
ATTEMPTS_OF_ADDRESS = 10
ATTEMPTS_OF_LINK = 200
_HOUR = 3600

#: Passwords of one address that are compared per minute, right ones too: each costs a tenth of a second.
COMPARISONS_OF_ADDRESS = 60

_T = TypeVar("_T")


class Transactions(Protocol):
    """How to work in the database, see :class:`watcher.api.transactions.TransactionRunner`."""

    def in_read(self, work: Callable[[Connection], _T]) -> Awaitable[_T]:
        """Return what ``work`` returns, in one transaction that reads."""
        ...

    def in_write(self, work: Callable[[Connection], _T]) -> Awaitable[_T]:
        """Return what ``work`` returns, in one transaction that writes."""
        ...


class LinkPayments:
    """What payers do with links. ``now``: this machine's clock; ``wake``: called after every write.

    ``address`` is whom limits count, see :func:`watcher.api.payers.limited_address`.
    """

    def __init__(
        self,
        settings: Settings,
        transactions: Transactions,
        views: LinkViews,
        *,
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._transactions = transactions
        self._views = views
        self._now = now
        self._wake = wake
        self._settler = Settler.of(settings)
        self._starts = RateLimit(STARTS_OF_ADDRESS)
        self._comparisons = RateLimit(COMPARISONS_OF_ADDRESS)
        self._attempts = RateLimit(ATTEMPTS_OF_ADDRESS, window=_HOUR)
        self._attempts_of_link = RateLimit(ATTEMPTS_OF_LINK, window=_HOUR)
        self._hashing = WorkerThreads(passwords.MAX_AT_ONCE, "api-password")

    async def page(
        self, code: str, *, unlock: str | None = None, visitor: str | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return what a payer sees of a link, and the origins that may frame it, see
        :meth:`LinkPaymentService.link_page`. ``visitor``: who is counted as one that looked, None for nobody.

        Raises :class:`watcher.errors.NotFound`.
        """
        document, origins, link = await self._transactions.in_read(
            lambda connection: self._service(connection).link_page(code, unlock=unlock)
        )
        if visitor is not None:
            await self._views.see(link, visitor)
        return document, origins

    async def unlock(self, code: str, password: str, *, address: str) -> str:
        """Return the token that opens a link's page, for who knows its password; an empty one where it has
        none.

        Raises :class:`watcher.errors.NotFound`, :class:`Refused` (``wrong_password``) and :class:`Problem`
        (429).
        """
        link, known = await self._knows(code, password, address)
        return "" if known is None else passwords.unlock_token(link, known, now=self._now())

    async def start(self, code: str, request: StartPayment, *, address: str) -> str:
        """Return the token of the checkout to which a payer's form leads, see
        :meth:`LinkPaymentService.start`, with what it raises, and :class:`Problem` (429).
        """
        known = None
        if request.password is not None:
            _, known = await self._knows(code, request.password, address)
        self._count_start(address)
        return await self._change(lambda service: service.start(code, request, known=known))

    async def switch_checkout(self, token: str, asset: str, *, address: str) -> str:
        """Return the token of the checkout in another asset, see :meth:`LinkPaymentService.switch_checkout`,
        with what it raises, and :class:`Problem` (429).
        """
        self._count_start(address)
        return await self._change(lambda service: service.switch_checkout(token, asset))

    async def restart_checkout(self, token: str, *, address: str) -> str:
        """Return the token of the checkout that takes the place of one that ended, see
        :meth:`LinkPaymentService.restart_checkout`, with what it raises, and :class:`Problem` (429).
        """
        self._count_start(address)
        return await self._change(lambda service: service.restart_checkout(token))

    def close(self) -> None:
        """Take no more requests."""
        self._hashing.close()

    async def _knows(self, code: str, password: str, address: str) -> tuple[str, str | None]:
        """Return a link's id and the hash of its password, None for none, if this is the password."""
        link, stored = await self._transactions.in_read(
            lambda connection: self._service(connection).password_of(code)
        )
        if stored is None:
            return link, None
        _, wait = self._comparisons.take(address)
        if wait is not None:
            raise rate_limited("too many passwords", wait)
        buckets = ((self._attempts, f"{link} {address}"), (self._attempts_of_link, link))
        for limit, key in buckets:
            _, wait = limit.take(key)
            if wait is not None:
                raise rate_limited("too many wrong passwords", wait)
        if not await self._hashing.run(lambda: passwords.is_password(password, stored)):
            raise Refused("wrong_password", errors=[{"field": "password", "message": "is not right"}])
        for limit, key in buckets:
            limit.give_back(key)
        return link, stored

    def _count_start(self, address: str) -> None:
        _, wait = self._starts.take(address)
        if wait is not None:
            raise rate_limited("too many payments started", wait)

    async def _change(self, work: Callable[[LinkPaymentService], str]) -> str:
        token = await self._transactions.in_write(lambda connection: work(self._service(connection)))
        self._wake()
        return token

    def _service(self, connection: Connection) -> LinkPaymentService:
        return LinkPaymentService(
            connection=connection,
            settings=self._settings,
            actor="payer",
            now=self._now(),
            settler_of=lambda _: self._settler,
        )
