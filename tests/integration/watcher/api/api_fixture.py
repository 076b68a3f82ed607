"""A server with the merchant API, two merchants with keys of each kind, and clients that hold them."""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx

from chain.testing import principal
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.api.server import HttpServer
from watcher.config.settings import Settings
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.schemas import AddApiKey, ChangeMerchant
from watcher.services import api_keys, merchants

ADMIN = "the-operators-own-token"
OTHER = principal("other shop")


class ApiFixture:
    """``key`` is the merchant's own, ``other`` another merchant's; ``client`` sends the first."""

    def __init__(self, fixture: LedgerFixture, **settings: Any) -> None:
        self.fixture = fixture
        self.more = settings
        self.merchant = fixture.merchant
        self.key = self.add_key(self.merchant)
        self.other_merchant = fixture.add_merchant("Other", OTHER)
        self.other_key = self.add_key(self.other_merchant)
        self.woken = 0
        self.stop = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = Settings(
            **{
                "database_url": self.fixture.settings.database_url,
                "payment_contract": self.fixture.settings.payment_contract,
                "http_bind": "127.0.0.1:0",
                "admin_token": ADMIN,
                "http_rate_limit": None,
                **self.more,
            }
        )
        liveness = Liveness(ServiceManager(), rest=1.0)
        self.server = self._stack.enter_context(
            HttpServer(
                settings,
                self.fixture.database,
                liveness,
                Metrics(),
                api=True,
                wake=self._wake,
                now=self._clock,
            )
        )
        self.serving = asyncio.create_task(self.server.serve(self.stop))
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.client = await self._stack.enter_async_context(self.as_key(self.key))
        self.stranger = await self._stack.enter_async_context(self.as_key(None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop.set()
        async with asyncio.timeout(15):
            await self.serving
        await self._stack.aclose()

    def _clock(self) -> float:
        self.fixture.clock.now += 0.002  # ids of two milliseconds sort by time
        return self.fixture.clock.now

    def _wake(self) -> None:
        self.woken += 1

    def as_key(self, key: str | None) -> httpx.AsyncClient:
        """Return a client that sends a key."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    def add_key(self, merchant: str, **more: Any) -> str:
        """Give a merchant one more key."""
        with self.fixture.database.begin() as connection:
            request, network = AddApiKey(**more), self.fixture.settings.network
            _, key = api_keys.add(connection, network, merchant, request, now=self.fixture.clock())
        self.fixture.clock.now += 0.002
        return key

    def allow(self, *origins: str) -> None:
        """Let pages of these origins frame the merchant's checkouts."""
        with self.fixture.database.begin() as connection:
            request = ChangeMerchant(allowed_origins=list(origins))
            merchants.change(
                connection, self.fixture.settings, self.merchant, request, now=self.fixture.clock()
            )

    async def create(self, **fields: Any) -> dict[str, Any]:
        """Create an intent of the merchant and return it."""
        answer = await self.client.post("/v1/payment_intents", json={"amount": "50000"} | fields)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return an error's status and code; see that it has the one shape of errors."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    return answer.status_code, document["code"]


def wrong_fields(answer: httpx.Response) -> list[str]:
    """Return the fields that a validation problem names."""
    assert problem(answer) == (422, "validation")
    return [error["field"] for error in answer.json()["errors"]]
