"""The demo for the browser: pages, a shop with the widget, and a scripted chain that pays on request.

The daemon with its pages is the real one. It runs as a development network, so that no wallet that holds
money would pay what the demo asks for.
"""

import asyncio
import socket
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from contracts.networks import NetworkName
from watcher.client import AsyncClient
from watcher.daemon import main as daemon_main
from watcher.demo import READER_GONE
from watcher.demo.daemon_log import collect_log
from watcher.demo.environment import Environment, Shop, TimedOut, open_environment
from watcher.demo.web.chain_control import ChainControl
from watcher.demo.web.site import Site, intent_of
from watcher.errors import ConfigError

#: The pages; the shop has the next port.
PORT = 8430

_HOST = "127.0.0.1"
_SHOP = "tea"


def run(port: int = PORT, console: Console | None = None) -> int:
    """Serve everything until Ctrl-C or SIGTERM and return the exit code: 0, or 1 when it could not start.

    141 when the reader of the output went away.

    ``port`` 0 takes any two free ports. Raises :class:`ConfigError` when a port is taken.
    """
    console = console or Console()
    pages, shop = _ports(port)
    with collect_log() as journal:
        try:
            with tempfile.TemporaryDirectory(prefix="sbtc-watcher-demo-") as folder:
                asyncio.run(_serve(Path(folder), pages, shop, console))
        except TimedOut as stuck:
            _say(console, Text(f"{stuck}\n{journal.getvalue()[-2000:]}", "red"))
            return 1
        except KeyboardInterrupt:
            pass  # before the daemon took the signals
        except SystemExit:  # rich raises it on a closed pipe
            return READER_GONE
    return 0


async def _serve(folder: Path, port: int, shop_port: int, console: Console) -> None:
    """Run the daemon, the chain and the shop side by side, until a signal stops the daemon."""
    url, shop_url = f"http://{_HOST}:{port}", f"http://{_HOST}:{shop_port}"
    async with open_environment(
        folder,
        schedule=(0.0, 1.0, 5.0, 30.0),
        network=NetworkName.DEVNET,
        payment_contract=None,
        poll_interval=0.3,
        mempool=True,
        mempool_interval=1.0,
        inclusion_grace=60,
        public_url=url,
        http_bind=f"{_HOST}:{port}",
        http_rate_limit=None,
    ) as environment:
        stop = asyncio.Event()
        daemon = asyncio.create_task(
            daemon_main.serve(environment.settings, environment.database, daemon_main.ROLES, stop=stop)
        )
        demo = asyncio.create_task(_run_shop(environment, url, shop_url, console))
        try:
            await asyncio.wait({daemon, demo}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            demo.cancel()
            await asyncio.wait({daemon, demo})
        daemon.result()
        if not demo.cancelled():
            demo.result()


async def _run_shop(environment: Environment, url: str, shop_url: str, console: Console) -> None:
    control = ChainControl(environment, lambda line: _say(console, Text(line)))
    await environment.followed()
    shop = await environment.open_shop(
        _SHOP,
        display_name="Tea & Co",
        brand_color="#0b6b3a",
        support_url=f"{shop_url}/help",
        allowed_origins=[shop_url],
    )
    async with (
        AsyncClient(url, shop.key) as client,
        Site(environment, control, client, shop, shop_url) as site,
    ):
        _say(console, Text())
        _say(console, Text("sbtc-watcher", "bold cyan").append(" · demo in the browser", "dim"))
        _say(console, Text())
        for name, address in await _addresses(site, client, url, shop_url):
            _say(console, Text.assemble((f"{name:<11}", "bold"), address))
        _say(console, Text())
        _say(console, Text("The chain is scripted and its money worth nothing: pay on the page “Chain”."))
        _say(console, Text("Do not pay with a wallet. Ctrl-C ends it, and leaves nothing behind."))
        _say(console, Text())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.run())
            tasks.create_task(_follow_webhooks(environment, shop, console))


async def _addresses(site: Site, client: AsyncClient, url: str, shop_url: str) -> list[tuple[str, str]]:
    intent = await site.order("tin")
    return [
        ("Shop", f"{shop_url}/"),
        ("Chain", f"{shop_url}/chain"),
        ("Checkout", str(intent.checkout_url)),
        ("Link", site.link),
        ("Dashboard", f"{shop_url}/dashboard"),
        ("API", f"{url}/docs"),
    ]


async def _follow_webhooks(environment: Environment, shop: Shop, console: Console) -> None:
    """Show each webhook that arrives at the shop."""
    shown = 0
    while True:
        arrivals = await environment.receiver.wait_for(shown + 1, path=shop.path, within=1e9)
        for arrival in arrivals[shown:]:
            if (told := intent_of(arrival)) is not None:
                _say(console, Text(f"webhook  {arrival.document['type']} · {told['reference']} · verified"))
        shown = len(arrivals)


def _ports(port: int) -> tuple[int, int]:
    """Return two free ports for pages and shop. Raises :class:`ConfigError` when one is taken."""
    with socket.socket() as first, socket.socket() as second:
        taken = []
        for listener, wanted in ((first, port), (second, port and port + 1)):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((_HOST, wanted))
            except (OSError, OverflowError):
                raise ConfigError(
                    f"port {wanted} of {_HOST} cannot be had", hint="choose another: --port 8440, or --port 0"
                ) from None
            taken.append(int(listener.getsockname()[1]))
        return taken[0], taken[1]


def _say(console: Console, text: Text) -> None:
    plain = text.plain
    if not console.encoding.lower().startswith("utf"):
        text = Text(plain.translate(_ASCII).encode("ascii", "replace").decode())
    console.print(text, soft_wrap=True, highlight=False)


_ASCII = str.maketrans({"·": "-", "“": '"', "”": '"'})

__all__ = ["PORT", "run"]
