"""The demo's shop, a server that knows of the watcher what any shop knows; and the chain's buttons."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from notifier.testing import Arrival
from watcher.client import ApiError, AsyncClient
from watcher.demo.environment import Environment, Shop
from watcher.demo.web.chain_control import ChainControl
from watcher.errors import Refused
from watcher.schemas import PaymentIntent

#: Bytes of a request.
_MAX_BODY = 10_000

#: Intents that the page of the chain shows.
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something to buy. ``amount`` in base units."""

    name: str
    amount: int
    asset: str = "sbtc"
    level: str = "included"
    expires_in: str = "1h"


ITEMS: Final = {
    "tin": Item(name="A tin of Earl Grey", amount=50_000),
    "pot": Item(name="A cast-iron pot", amount=2_500_000, level="anchored"),
    "cup": Item(name="Today's cup, for two minutes", amount=25_000_000, asset="stx", expires_in="2m"),
}

_FILES: Final = {
    "/": ("shop.html", "text/html"),
    "/chain": ("chain.html", "text/html"),
    "/help": ("help.html", "text/html"),
    "/shop.js": ("shop.js", "text/javascript"),
    "/chain.js": ("chain.js", "text/javascript"),
    "/site.css": ("site.css", "text/css"),
}


class Site:
    """The servers behind the shop's pages; an async context manager. ``url`` is its origin."""

    def __init__(
        self, environment: Environment, control: ChainControl, client: AsyncClient, shop: Shop, url: str
    ) -> None:
        self._environment = environment
        self._control = control
        self._client = client
        self._shop = shop
        self._url = url
        self._runner: web.AppRunner | None = None
        #: The address of a payment link.
        self.link = ""

    async def __aenter__(self) -> Self:
        made = await self._client.create_link(
            prices={"sbtc": 7_000, "stx": 3_500_000},
            description="A pot of tea at the table",
            success_url=f"{self._url}/",
        )
        self.link = made.url
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[_guarded])
        for path in _FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/dashboard", self._sign_in)
        app.router.add_post("/orders", self._add_order)
        app.router.add_get("/orders", self._orders)
        app.router.add_get("/state", self._state)
        app.router.add_post("/actions", self._act)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        host, _, port = self._url.removeprefix("http://").partition(":")
        await web.TCPSite(self._runner, host, int(port)).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def order(self, name: str) -> PaymentIntent:
        """Ask the watcher for the payment of an item, as a shop's server does."""
        item = ITEMS[name]
        return await self._client.create_intent(
            item.amount,
            asset=item.asset,
            level=item.level,
            expires_in=item.expires_in,
            description=item.name,
            success_url=f"{self._url}/",
            cancel_url=f"{self._url}/",
        )

    async def _file(self, request: web.Request) -> web.Response:
        name, media_type = _FILES[request.path]
        text = files("watcher.demo.web").joinpath("pages", name).read_text("utf-8")
        pay = self._environment.settings.public_url
        # What docs/widget.md tells a shop to allow: the server's scripts and frames.
        policy = (
            f"default-src 'none'; script-src 'self' {pay}; frame-src {pay}; style-src 'self'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {"content-security-policy": policy, "cache-control": "no-store"}
        text = text.replace("%PAY%", str(pay)).replace("%LINK%", self.link)
        return web.Response(text=text, content_type=media_type, headers=headers)

    async def _sign_in(self, request: web.Request) -> web.Response:
        """Lead to the dashboard by a link that works once; each visit has its own."""
        raise web.HTTPSeeOther(await self._environment.login_link(self._shop))

    async def _add_order(self, request: web.Request) -> web.Response:
        item = (await _read(request)).get("item")
        if item not in ITEMS:
            raise Refused("unknown_item", "there is no such item")
        return web.json_response({"checkoutUrl": (await self.order(item)).checkout_url})

    async def _orders(self, request: web.Request) -> web.Response:
        """Return what the shop's own books say: only what verified webhooks told."""
        told: dict[str, dict[str, str]] = {}
        for arrival in self._environment.receiver.at(self._shop.path):
            if (intent := intent_of(arrival)) is not None and not arrival.document.get("test"):
                told[intent["id"]] = {
                    "reference": intent["reference"],
                    "description": intent["description"] or "",
                    "event": arrival.document["type"],
                }
        return web.json_response(list(told.values())[::-1][:_SHOWN])

    async def _state(self, request: web.Request) -> web.Response:
        page = await self._client.intents(limit=_SHOWN)
        return web.json_response(
            {"chain": self._control.state(), "intents": [one.model_dump(mode="json") for one in page.data]}
        )

    async def _act(self, request: web.Request) -> web.Response:
        asked = await _read(request)
        action, intent = asked.get("action"), asked.get("intent")
        if intent is None:
            self._control.act(str(action))
        else:
            found = await self._client.intent(str(intent))
            self._control.pay(found.model_dump(mode="json"), str(action))
        return web.json_response({})


def intent_of(arrival: Arrival) -> Mapping[str, Any] | None:
    """Return the intent that a verified webhook tells of, None where it is about something else or forged."""
    if arrival.refused is not None:
        return None
    found: Mapping[str, Any] | None = arrival.document["data"].get("payment_intent")
    return found


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what is refused as JSON; take nothing from pages of others, which cannot send JSON here."""
    if request.method == "POST" and request.content_type != "application/json":
        return web.json_response({"error": "send JSON"}, status=415)
    try:
        return await handler(request)
    except (Refused, ApiError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=422)


async def _read(request: web.Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.text())
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Refused("bad_request", "send a JSON object")
    return found
