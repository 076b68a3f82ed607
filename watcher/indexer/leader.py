"""Leader election on a shared database: a lease in one row says which process moves the ledger.

The holder renews it; when it has expired, a standby takes it over under the next epoch. Every transaction of
the ledger locks the row and compares holder and epoch, so that a process that was frozen or cut off commits
nothing when it wakes up. All times are the database server's: no other clock has to be right.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Update, select, update
from sqlalchemy.exc import SQLAlchemyError

from notifier.clock import server_time
from notifier.database_errors import reason_of
from notifier.statements import upsert
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_transaction, run_until_stopped
from watcher.errors import LeaseHeld, LeaseLost
from watcher.log import get_logger
from watcher.store.database import Database
from watcher.store.process_schema import lease

#: How long a holder keeps the lease without renewing it, seconds.
LEASE_SECONDS = 15.0

#: Attempts to renew it, or to take it over, within that time.
ATTEMPTS_PER_LEASE = 5

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """The process that holds the lease, or held it last."""

    #: Host and process id.
    holder: str
    #: Grows by one whenever the lease changes hands.
    epoch: int
    #: Seconds until it expires, unless it is renewed; 0 when it has expired or was released.
    remaining: float


class Lease:
    """One process's hold on the lease of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        #: None while the lease is not ours.
        self.epoch: int | None = None
        self._database = database

    def acquire(self) -> bool:
        """Take the lease if it is free; return whether it is ours."""
        until = server_time() + LEASE_SECONDS
        with self._database.begin() as connection:
            statement = upsert(connection, lease).values(id=1, holder=self.holder, epoch=1, until=until)
            statement = statement.on_conflict_do_update(
                index_elements=[lease.c.id],
                set_={"holder": self.holder, "epoch": lease.c.epoch + 1, "until": until},
                where=lease.c.until <= server_time(),
            )
            epoch = connection.execute(statement.returning(lease.c.epoch)).scalar_one_or_none()
        self.epoch = epoch
        return epoch is not None

    def renew(self) -> None:
        """Renew the lease for :data:`LEASE_SECONDS`. Raises :class:`LeaseLost` when another took it."""
        with self._database.begin() as connection:
            kept = connection.execute(
                self._update_ours().values(until=server_time() + LEASE_SECONDS)
            ).rowcount
        if not kept:
            raise self._lost()

    def release(self) -> None:
        """Release the lease, so that a standby need not wait; no effect when another process took it."""
        with self._database.begin() as connection:
            connection.execute(self._update_ours().values(until=0.0))
        self.epoch = None

    def check(self, connection: Connection) -> None:
        """Hold the lease until the transaction ends. Raises :class:`LeaseLost` when it is not ours."""
        query = select(lease.c.holder, lease.c.epoch).where(lease.c.id == 1)
        row = connection.execute(query.with_for_update()).one_or_none()
        if row is None or (row.holder, row.epoch) != (self.holder, self.epoch):
            raise self._lost()

    async def wait_for(self, stop: asyncio.Event) -> bool:
        """Try until the lease is ours; False when ``stop`` was set first."""
        known: str | None = None
        while not stop.is_set():
            try:
                if await self._try_acquire():
                    return True
                if (other := await run_in_thread(self._holder)) != known:
                    log.info("lease.waiting", holder=other)
                    known = other
            except SQLAlchemyError as error:
                log.error("lease.failed", reason=reason_of(error))
            except Exception as error:
                unforeseen.report("lease", error)
            await run_until_stopped(stop, asyncio.sleep(LEASE_SECONDS / ATTEMPTS_PER_LEASE))
        return False

    async def acquire_or_fail(self, stop: asyncio.Event) -> None:
        """Take the lease, waiting for the one of a dead holder to expire.

        Raises :class:`LeaseHeld` when a live process holds it.
        """
        for _ in range(ATTEMPTS_PER_LEASE + 2):
            if await self._try_acquire():
                return
            await run_until_stopped(stop, asyncio.sleep(LEASE_SECONDS / ATTEMPTS_PER_LEASE))
        raise LeaseHeld(
            f"another process ({await run_in_thread(self._holder)}) follows the chain on this database",
            hint="stop it first, or start this one with --role notifier",
        )

    @asynccontextmanager
    async def keep_renewed(self) -> AsyncIterator[None]:
        """Renew the lease while the block runs, then release it.

        When another process takes it, the block is cancelled and :class:`LeaseLost` is raised.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._renew_forever())
                yield
                keeping.cancel()
        except BaseExceptionGroup as group:
            if group.split(LeaseLost)[1] is None:
                raise self._lost() from group
            raise
        try:
            await run_transaction(self.release)
        except SQLAlchemyError as error:
            log.error("lease.failed", reason=reason_of(error))
        except Exception as error:
            # It expires by itself.
            unforeseen.report("lease", error)

    async def _try_acquire(self) -> bool:
        taken = await run_transaction(self.acquire)
        if taken:
            log.info("lease.taken", holder=self.holder, epoch=self.epoch)
        return taken

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / ATTEMPTS_PER_LEASE)
            try:
                await run_transaction(self.renew)
            except SQLAlchemyError as error:
                # It may still be ours: every transaction of the ledger checks it.
                log.error("lease.failed", reason=reason_of(error))
            except LeaseLost:
                raise
            except Exception as error:
                unforeseen.report("lease", error)

    def _holder(self) -> str | None:
        with self._database.read() as connection:
            found = current_holder(connection)
        return found.holder if found is not None else None

    def _update_ours(self) -> Update:
        return update(lease).where(
            lease.c.id == 1, lease.c.holder == self.holder, lease.c.epoch == self.epoch
        )

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"another process took over following the chain from {self.holder}",
            hint="it was silent for too long: frozen, or cut off from the database",
        )


async def lead(
    lease: Lease,
    follow: Callable[[asyncio.Event], Awaitable[None]],
    stand_by: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Run ``follow`` while the lease is ours and ``stand_by`` while it is not, until ``stop`` is set."""
    while not stop.is_set():
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_run(stand_by, stop))
            await lease.wait_for(stop)
            waiting.cancel()
        if lease.epoch is not None:
            try:
                async with lease.keep_renewed():
                    await follow(stop)
            except LeaseLost as error:
                lease.epoch = None
                log.error("lease.lost", reason=str(error), hint=error.hint)


def current_holder(connection: Connection) -> LeaseHolder | None:
    """Return the holder of the lease, or its last one; None if it was never taken. PostgreSQL only."""
    query = select(lease.c.holder, lease.c.epoch, (lease.c.until - server_time()).label("remaining"))
    row = connection.execute(query.where(lease.c.id == 1)).one_or_none()
    if row is None:
        return None
    return LeaseHolder(holder=row.holder, epoch=row.epoch, remaining=max(0.0, row.remaining))


async def _run(part: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    await part(stop)
