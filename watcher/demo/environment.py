"""The environment of the demo: a scripted Stacks API server, a database, settings, and the shops' server.

Servers listen on 127.0.0.1 and are closed with the environment. What the demo shows of the watcher is
read from the database, after the daemon's commits.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from chain.testing import ScriptedApi, ScriptedChain, principal
from contracts.networks import NETWORKS, NetworkName
from notifier import deliveries, endpoints, outbox
from notifier.events import DEFAULT_EVENTS, EventType
from notifier.secrets import PLAIN
from notifier.ssrf import check_url
from notifier.testing import Arrival, Receiver
from watcher.config.settings import Settings
from watcher.domain.model import Intent
from watcher.errors import WatcherError
from watcher.indexer.settler import Settler
from watcher.schemas import NewLoginLink, NewMerchant, NewPaymentIntent, TransferFilters
from watcher.services import Services, intent_requests, merchants, queries
from watcher.store import chain_state
from watcher.store import intents as intent_store
from watcher.store.database import Connection, Database

_T = TypeVar("_T")

PAYMENT_CONTRACT: Final = f"{principal('deployer')}.sbtc-payments"

#: Event types that the shops subscribe to: the final statuses, and what needs a person.
EVENTS: Final = (*DEFAULT_EVENTS, EventType.ATTENTION)

#: Time limit for one commit or delivery attempt of the daemon, seconds; it needs far less than one.
WAIT_TIMEOUT_SECONDS: Final = 12.0

#: Interval of database queries while waiting, seconds.
POLL_SECONDS: Final = 0.02


class TimedOut(WatcherError):
    """The daemon did not reach the awaited state within :data:`WAIT_TIMEOUT_SECONDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A merchant with its own address and one endpoint, a path of the receiver."""

    merchant: str
    recipient: str
    endpoint: str
    path: str
    #: The key that the shop's own server would hold.
    key: str


class Environment:
    """The servers and the database, with the queries of the scenes. Made by :func:`open_environment`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        chain: ScriptedChain,
        api: ScriptedApi,
        receiver: Receiver,
    ) -> None:
        self.settings = settings
        self.database = database
        self.chain = chain
        self.api = api
        self.receiver = receiver
        #: The tip at the start; chain times are shown relative to it.
        self.first = chain.tip
        self._settler = Settler.of(settings)

    # Merchants

    async def open_shop(self, name: str, **more: Any) -> Shop:
        """Add a merchant with an endpoint at the receiver, which verifies with its secret.

        ``more``: what else the merchant has.
        """
        path = f"/{name}"
        url = check_url(self.receiver.url(path), allow_http=True, allow_private=True)

        def add(connection: Connection) -> tuple[Shop, str]:
            now = time.time()
            recipient = principal(f"shop {name}", self.settings.network_facts.mainnet)
            request = NewMerchant(name=name, recipient=recipient, **more)
            row, key = merchants.add(connection, self.settings, request, now=now)
            endpoint, secret = endpoints.create(
                connection, merchant=row["id"], url=url, events=EVENTS, secret_store=PLAIN, now=now
            )
            shop = Shop(
                merchant=row["id"], recipient=row["recipient"], endpoint=endpoint.id, path=path, key=key
            )
            return shop, secret

        shop, secret = await self._write(add)
        self.receiver.trust(secret, path)
        return shop

    async def login_link(self, shop: Shop) -> str:
        """Return an address that signs a shop in to the dashboard, once."""

        def make(connection: Connection) -> str:
            services = Services(connection, self.settings, "demo", time.time())
            return str(services.add_login_link(shop.merchant, NewLoginLink())["url"])

        return await self._write(make)

    async def create_intent(self, shop: Shop, request: NewPaymentIntent) -> Intent:
        """Create an intent as the CLI and the HTTP API do."""
        # The scripted chain runs ahead of the machine's clock: an hour from now means an hour of chain time.
        now = max(time.time(), float(self.chain.tip.time))

        def create(connection: Connection) -> Intent:
            made = intent_requests.create(
                connection,
                request,
                merchant_id=shop.merchant,
                settings=self.settings,
                settler=self._settler,
                now=now,
            )
            return intent_store.load_intents(connection, [made])[made]

        return await self._write(create)

    # Results of the daemon

    async def followed(self) -> None:
        """Wait until the daemon has committed the chain's tip."""

        def at_tip(connection: Connection) -> bool | None:
            cursor = chain_state.load_cursor(connection)
            return True if cursor is not None and cursor.clock.hash == self.chain.tip.hash else None

        await self.wait_for(at_tip, f"the watcher did not follow to block {self.chain.tip.height}")

    async def delivered(self) -> None:
        """Wait until no delivery is pending."""
        await self.wait_for(
            lambda connection: outbox.stats(connection, now=time.time()).pending == 0 or None,
            "the watcher did not finish its deliveries",
        )

    async def intent(self, intent_id: str) -> dict[str, Any]:
        """Return an intent as the HTTP API shows it."""
        return await self.read(
            lambda connection: queries.intent(connection, intent_id, server_info=self.settings.server_info)
        )

    async def unmatched(self, shop: Shop) -> list[dict[str, Any]]:
        """Return the unmatched transfers with a shop's label or address."""
        page = await self.read(
            lambda connection: queries.transfers(
                connection, TransferFilters(unmatched=True), merchant=shop.merchant
            )
        )
        found: list[dict[str, Any]] = page["data"]
        return found

    async def deliveries(self, shop: Shop) -> list[dict[str, Any]]:
        """Return all deliveries to a shop, oldest first, each with its log of attempts."""

        def load(connection: Connection) -> list[dict[str, Any]]:
            listed, _ = deliveries.list_deliveries(connection, endpoint=shop.endpoint, limit=100)
            return [deliveries.show(connection, row["id"]) for row in reversed(listed)]

        return await self.read(load)

    async def attempt(self, delivery_id: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait for one attempt of a delivery; return (delivery, attempt)."""

        def tried(connection: Connection) -> tuple[dict[str, Any], dict[str, Any]] | None:
            found = deliveries.show(connection, delivery_id)
            return (found, found["log"][number - 1]) if len(found["log"]) >= number else None

        return await self.wait_for(tried, f"the watcher did not make attempt {number} of {delivery_id}")

    def arrivals(self, shop: Shop, event: str) -> list[Arrival]:
        """Return the requests that brought an event to a shop, in order."""
        return [arrival for arrival in self.receiver.at(shop.path) if arrival.id == event]

    # The database

    async def read(self, query: Callable[[Connection], _T]) -> _T:
        """Run a query in a worker thread."""

        def run() -> _T:
            with self.database.read() as connection:
                return query(connection)

        return await asyncio.to_thread(run)

    async def wait_for(self, query: Callable[[Connection], _T | None], complaint: str) -> _T:
        """Poll a query until it returns a result.

        Raises :class:`TimedOut` after :data:`WAIT_TIMEOUT_SECONDS`.
        """
        deadline = time.monotonic() + WAIT_TIMEOUT_SECONDS
        while (found := await self.read(query)) is None:
            if time.monotonic() > deadline:
                raise TimedOut(f"{complaint} within {WAIT_TIMEOUT_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def _write(self, change: Callable[[Connection], _T]) -> _T:
        def run() -> _T:
            with self.database.begin() as connection:
                return change(connection)

        return await asyncio.to_thread(run)


@asynccontextmanager
async def open_environment(
    folder: Path,
    *,
    schedule: tuple[float, ...],
    network: NetworkName = NetworkName.MAINNET,
    **more: Any,
) -> AsyncIterator[Environment]:
    """Set up everything but the daemon; ``schedule`` is the webhook retry schedule, seconds.

    ``more``: other settings than the demo's own.
    """
    chain = ScriptedChain(height=1000, burn_height=900_000, time=int(time.time()))
    chain_id = NETWORKS[network].chain_id
    async with ScriptedApi(chain, network_id=chain_id) as api, Receiver() as receiver:
        own: dict[str, Any] = {
            "poll_interval": 0.05,
            "mempool": False,
            "payment_contract": PAYMENT_CONTRACT,
            "http_bind": "",
        }
        settings = Settings(
            network=network,
            database_url=f"sqlite:///{folder}/demo.db",
            api_urls=(api.url,),
            websocket=False,
            webhook_retry_schedule=schedule,
            webhook_timeout=5.0,
            webhook_allow_http=True,
            webhook_allow_private=True,
            **own | more,
        )
        database = Database(settings.database_url)
        try:
            await asyncio.to_thread(database.upgrade)
            yield Environment(settings, database, chain, api, receiver)
        finally:
            database.close()
