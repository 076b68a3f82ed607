"""One transaction per request, in a worker thread, with the caller's :class:`watcher.services.Services`."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from fastapi import Request, Response

from watcher.api import idempotency
from watcher.api.caller import Caller
from watcher.api.idempotency import Answer, IdempotentRequest
from watcher.api.json_response import encode, from_answer, with_etag
from watcher.api.link_payments import LinkPayments
from watcher.api.link_views import LinkViews
from watcher.api.long_poll import LongPoll
from watcher.api.rate_limit import RateLimit
from watcher.api.request import ApiRequest
from watcher.api.slots import (
    MAX_PAYER_WAITS,
    MAX_STREAMS,
    PAYER_WAITS_OF_ADDRESS,
    STREAMS_OF_ADDRESS,
    Slots,
)
from watcher.api.uses import Uses
from watcher.api.worker_threads import WorkerThreads
from watcher.config.settings import Settings
from watcher.indexer.settler import Settler
from watcher.services import Services, api_keys, checkout, dashboard_sessions, queries, wallet_call
from watcher.services.api_keys import ApiKeyOwner
from watcher.services.dashboard_sessions import DashboardSession
from watcher.services.status_reasons import Reason
from watcher.services.webhook_secrets import open_secret_store
from watcher.store import link_views
from watcher.store.database import Connection, Database

#: Threads that read, and that write where the database takes several writers; SQLite has one.
READ_THREADS = 4
WRITE_THREADS = 4

#: Threads for what a write needs to know before it begins: names that one merchant has looked up must not
#: hold up the rest.
LOOKUP_THREADS = 8


#: Attempts to sign in per minute: of one address, and of all addresses together.
SIGN_INS_OF_ADDRESS = 10
MAX_SIGN_INS = 300

_T = TypeVar("_T")


class TransactionRunner:
    """Runs the work of routes. ``now``: this machine's clock, unix seconds.

    ``wake`` is called after every write: there may be events to deliver. ``known_reasons`` returns what is
    wrong with this process, for the status.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        wake: Callable[[], None] = lambda: None,
        known_reasons: Callable[[], Sequence[Reason]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.known_reasons = known_reasons
        self.rate_limit = RateLimit(settings.http_rate_limit)
        #: Requests per minute of one address without a key.
        self.payer_limit = RateLimit(settings.http_rate_limit)
        self.long_poll = LongPoll(self._statuses)
        self.streams = Slots("listen", of_caller=STREAMS_OF_ADDRESS, altogether=MAX_STREAMS)
        self.payer_waits = Slots("wait", of_caller=PAYER_WAITS_OF_ADDRESS, altogether=MAX_PAYER_WAITS)
        everyone = MAX_STREAMS + MAX_PAYER_WAITS
        self.checkout_poll = LongPoll(
            self._checkout_versions, Slots("listen", of_caller=everyone, altogether=everyone)
        )
        self._database = database
        self._wake = wake
        self.now = now
        self._settler = Settler.of(settings)
        self._secret_store = open_secret_store(settings)
        self._readers = WorkerThreads(READ_THREADS, "api-read")
        self._writers = WorkerThreads(1 if database.is_sqlite else WRITE_THREADS, "api-write")
        self._lookups = WorkerThreads(LOOKUP_THREADS, "api-lookup")
        self.key_uses = Uses(database, self._writers, api_keys.record_use, now)
        self.session_uses = Uses(
            database,
            self._writers,
            lambda connection, used: dashboard_sessions.record_use(connection, used, now=now()),
            now,
        )
        self.view_uses = Uses(database, self._writers, link_views.record_uses, now)
        self.links = LinkPayments(
            settings, self, LinkViews(self.view_uses, self.in_write, now), now=now, wake=wake
        )
        #: Attempts to sign in per minute: of one address, and altogether.
        self.sign_in_limit = RateLimit(SIGN_INS_OF_ADDRESS)
        self.sign_in_limit_of_all = RateLimit(MAX_SIGN_INS)
        #: Idempotency keys of the writes that run in this process.
        self._running: set[bytes] = set()

    # What routes call

    async def write(
        self,
        request: ApiRequest,
        caller: Caller,
        work: Callable[[Services, Any], Any],
        *,
        status: int,
        before: Callable[[], object] | None = None,
    ) -> Response:
        """Do something once, in one transaction, and answer with the document that ``work`` returns.

        ``before`` runs before the transaction, in a thread, for what may take its time (a look-up of a name);
        ``work`` gets what it returns. Nothing that raises leaves anything behind.
        """
        idempotent = await _idempotent_request(request, caller)
        answer, replayed = await self.write_once(caller, work, idempotent, status=status, before=before)
        return from_answer(answer, replayed=replayed)

    async def write_once(
        self,
        caller: Caller,
        work: Callable[[Services, Any], Any],
        idempotent: IdempotentRequest | None,
        *,
        status: int = 200,
        before: Callable[[], object] | None = None,
    ) -> tuple[Answer, bool]:
        """The same for a key that was read already; return the answer, and whether it is an earlier one."""
        if idempotent is not None:
            if idempotent.digest in self._running:
                raise idempotency.in_progress()
            self._running.add(idempotent.digest)
        found = None
        try:
            if before is not None:
                known = await self._readers.run(lambda: self._recall_answer(idempotent))
                if known is not None:
                    return known, True
                found = await self._lookups.run(before)
            answer, replayed = await self._run_write(
                caller, lambda services: work(services, found), idempotent, status
            )
        finally:
            if idempotent is not None:
                self._running.discard(idempotent.digest)
        if not replayed:
            self._wake()
        return answer, replayed

    async def check_key(self, request: ApiRequest, caller: Caller) -> None:
        """Raise :class:`watcher.errors.Refused` where a request's idempotency key was used for another
        request.
        """
        idempotent = await _idempotent_request(request, caller)
        if idempotent is not None:
            await self._readers.run(lambda: self._recall_answer(idempotent))

    async def read(self, request: Request, caller: Caller, work: Callable[[Services], Any]) -> Response:
        """Answer with the document that ``work`` returns, or 304 when the caller has it already."""

        return with_etag(request, await self.read_with(caller, lambda services: encode(work(services))))

    async def read_with(self, caller: Caller, work: Callable[[Services], _T]) -> _T:
        """Return what ``work`` returns, in one transaction that reads."""
        return await self.in_read(lambda connection: work(self._services(connection, caller)))

    async def in_read(self, work: Callable[[Connection], _T]) -> _T:
        """Return what ``work`` returns, in one transaction that reads; for what is nobody's."""

        def read() -> _T:
            with self._database.read() as connection:
                return work(connection)

        return await self._readers.run(read)

    async def in_write(self, work: Callable[[Connection], _T]) -> _T:
        """Return what ``work`` returns, in one transaction that writes; for what is nobody's."""
        return await self._writers.run(partial(self._database.transact, work), to_the_end=True)

    async def wait_for_intent(
        self, request: Request, caller: Caller, intent_id: str, *, seconds: float, seen: Collection[str]
    ) -> None:
        """Wait while an intent's status is one of ``seen`` and does not change, but no longer than
        ``seconds``.

        Ends early when the caller is gone or the process stops. Raises :class:`watcher.errors.NotFound`, and
        :class:`Problem` when too many wait.
        """
        status = await self.read_with(caller, lambda services: str(services.intent(intent_id)["status"]))
        if status not in seen:
            return
        await _unless_gone(
            request,
            self.long_poll.wait_for_change(caller.key_id or caller.scope, intent_id, status, seconds),
        )

    async def wait_for_checkout(
        self, request: Request, token: str, *, address: str, seconds: float, after: str | None
    ) -> None:
        """Wait while a checkout's version is ``after``, by default the one it has, but no longer than
        ``seconds``.

        Ends early when the caller is gone or the process stops. Raises :class:`watcher.errors.NotFound`, and
        :class:`Problem` when too many wait.
        """
        document, _ = await self.checkout(token)
        if after not in (None, document["version"]):
            return
        with self.payer_waits.take(address):
            await _unless_gone(
                request,
                self.checkout_poll.wait_for_change(
                    "", document["payment_intent"], document["version"], seconds
                ),
            )

    async def checkout(self, token: str) -> tuple[dict[str, Any], list[str]]:
        """Return what a payer sees, and the origins that may frame it, see
        :func:`watcher.services.checkout.document`. Raises :class:`watcher.errors.NotFound`.
        """

        def read() -> tuple[dict[str, Any], list[str]]:
            with self._database.read() as connection:
                return checkout.document(connection, token, settings=self.settings, now=self.now())

        return await self._readers.run(read)

    async def wallet_call(self, token: str, sender: str) -> dict[str, Any]:
        """Return what a payer's wallet is asked to do, see :func:`watcher.services.wallet_call.document`."""

        def read() -> dict[str, Any]:
            with self._database.read() as connection:
                return wallet_call.document(
                    connection, token, sender=sender, settings=self.settings, now=self.now()
                )

        return await self._readers.run(read)

    async def key_owner(self, key: str) -> ApiKeyOwner | None:
        """Return the owner of a valid API key."""
        return await self.in_read(lambda connection: api_keys.find_owner(connection, key, now=self.now()))

    async def dashboard_session(self, secret: str) -> DashboardSession | None:
        """Return the session of a cookie's secret, None if it is over."""
        return await self.in_read(
            lambda connection: dashboard_sessions.find(
                connection, secret, settings=self.settings, now=self.now()
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve long polls and record when keys were used, until ``stop`` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.long_poll.run(stop))
            tasks.create_task(self.checkout_poll.run(stop))
            tasks.create_task(self.key_uses.run(stop))
            tasks.create_task(self.session_uses.run(stop))
            tasks.create_task(self.view_uses.run(stop))

    def close(self) -> None:
        """Take no more requests."""
        self.long_poll.release()
        self.checkout_poll.release()
        self.links.close()
        for threads in (self._readers, self._writers, self._lookups):
            threads.close()

    # Transactions

    def _services(self, connection: Connection, caller: Caller) -> Services:
        return Services(
            connection=connection,
            settings=self.settings,
            merchant=caller.merchant,
            actor=caller.actor,
            now=self.now(),
            settler_of=lambda _: self._settler,
            secret_store_of=lambda _: self._secret_store,
        )

    async def _run_write(
        self,
        caller: Caller,
        work: Callable[[Services], Any],
        idempotent: IdempotentRequest | None,
        status: int,
    ) -> tuple[Answer, bool]:
        """Return the answer, and whether it is an earlier one."""

        def write(connection: Connection) -> tuple[Answer, bool]:
            if idempotent is not None:
                known = idempotency.begin(connection, idempotent, now=self.now())
                if known is not None:
                    return known, True
            document = work(self._services(connection, caller))
            answer = Answer(status=status, body=b"" if status == 204 else encode(document))
            if idempotent is not None:
                idempotency.remember(connection, idempotent, answer, now=self.now())
            return answer, False

        # Waited for even when the caller is gone: the key is free again only when it is known what became of
        # it.
        transaction = partial(self._database.transact, write)
        return await self._writers.run(transaction, to_the_end=True)

    def _recall_answer(self, idempotent: IdempotentRequest | None) -> Answer | None:
        if idempotent is None:
            return None
        with self._database.read() as connection:
            return idempotency.recall(connection, idempotent, now=self.now())

    async def _statuses(self, intent_ids: Collection[str]) -> Mapping[str, str]:
        def read() -> dict[str, str]:
            with self._database.read() as connection:
                return queries.statuses(connection, intent_ids)

        return await self._readers.run(read)

    async def _checkout_versions(self, intent_ids: Collection[str]) -> Mapping[str, str]:
        def read() -> dict[str, str]:
            with self._database.read() as connection:
                return checkout.versions(connection, intent_ids, now=self.now())

        return await self._readers.run(read)


async def _idempotent_request(request: ApiRequest, caller: Caller) -> IdempotentRequest | None:
    """Return the key and fingerprint of an idempotent request, None for others. Raises :class:`Refused`."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    asked = idempotency.fingerprint(request.method, request.url.path, await request.json())
    return IdempotentRequest(scope=caller.scope, key=idempotency.check_key(*keys), asked=asked)


async def _unless_gone(request: Request, wait: Coroutine[Any, Any, bool]) -> None:
    """Wait to the end, or until the caller is gone. Raises what ``wait`` raises."""
    changed, gone = asyncio.ensure_future(wait), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({changed, gone}, return_when=asyncio.FIRST_COMPLETED)
        if changed.done():
            changed.result()
    finally:
        for task in (changed, gone):
            task.cancel()
        await asyncio.wait({changed, gone})


async def _disconnected(request: Request) -> None:
    """Return when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
