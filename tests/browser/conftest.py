"""Fixtures: pages in a real browser (Debian's chromium, driven by Playwright), served by the real program.

A test that ends well has asked no other host, logged no error, and met no violation of a page's policy.
Without a browser these tests are skipped, but never where REQUIRE_BROWSER is set.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.wallet.stand_in import Signer, StandInWallet, signing
from tests.deployment import ROOT, Deployment, deployed
from tests.integration.contracts.vm import require_node
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
AXE = ROOT / "watcher/web/node_modules/axe-core/axe.min.js"

#: A phone and a desk.
WIDTHS = (390, 1280)

#: Tell the console what the page's policy stops: requests that it blocks are in no list.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} stops ${event.blockedURI}`));
"""


class Visitor:
    """A person with a browser, who notices what goes wrong."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        #: Origins that pages may ask: those that were visited, and what a test adds.
        self.allowed: set[str] = set()
        #: Parts of messages that a test expects in the console.
        self.expected: set[str] = set()
        self._asked: list[str] = []
        self._errors: list[str] = []
        self._contexts: list[BrowserContext] = []

    async def context(
        self, *, width: int = 1280, scheme: str = "light", script: str | None = None, **options: Any
    ) -> BrowserContext:
        """Return a browser that knows nothing yet. ``script`` runs before those of every page and frame."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme=scheme,
            reduced_motion=options.pop("reduced_motion", "reduce"),
            **options,
        )
        context.set_default_timeout(15_000)
        if options.get("java_script_enabled", True):
            await context.add_init_script(_REPORT_VIOLATIONS)
        if script is not None:
            await context.add_init_script(script)
        context.on("page", self._watch)
        context.on("weberror", lambda error: self._errors.append(str(error.error)))
        self._contexts.append(context)
        return context

    async def visit(self, url: str, **options: Any) -> Page:
        """Open a page in a browser of its own; ``options`` are those of :meth:`context`."""
        self.allowed.add(_origin(url))
        page = await (await self.context(**options)).new_page()
        await page.goto(url)
        return page

    def check(self) -> None:
        """Fail where a page asked another host, logged an error, or met its policy."""
        strangers = {
            url
            for url in self._asked
            if urlsplit(url).scheme in ("http", "https", "ws", "wss") and _origin(url) not in self.allowed
        }
        assert not strangers, f"asked another host: {strangers}"
        errors = [one for one in self._errors if not any(part in one for part in self.expected)]
        assert not errors, f"in the console: {errors}"

    async def close(self) -> None:
        """Close every page."""
        for context in self._contexts:
            await context.close()

    def _watch(self, page: Page) -> None:
        page.on(
            "request",
            lambda request: self._asked.append(request.url),
        )
        page.on(
            "console",
            lambda message: self._errors.append(message.text) if message.type == "error" else None,
        )


@dataclass
class Payer:
    """A person with wallets in their browser, before checkouts."""

    visitor: Visitor
    wallet: StandInWallet

    async def open(self, url: str, *, clock: bool = False, **options: Any) -> Page:
        """Open a checkout; with ``clock`` the page's time can be moved."""
        context = await self.visitor.context(**options)
        await self.wallet.install(context)
        page = await context.new_page()
        self.visitor.allowed.add("/".join(url.split("/")[:3]))
        if clock:
            await page.clock.install()
        await page.goto(url)
        return page


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    """A person with a browser; what goes wrong on any page fails the test."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("the tests of pages need chromium: apt-get install chromium")
        pytest.skip("the tests of pages need chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        visitor = Visitor(browser)
        yield visitor
        await visitor.close()
        await browser.close()
        visitor.check()


@pytest.fixture
async def signer() -> AsyncIterator[Signer]:
    """The process that signs with the wallets' own library."""
    require_node()
    async with signing() as running:
        yield running


@pytest.fixture
async def payer(visitor: Visitor, signer: Signer) -> Payer:
    """A person who has Leather."""
    return Payer(visitor, await StandInWallet.of(signer))


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A chain that starts now, its API, a receiver, and settings for a daemon that serves pages."""
    async with deployed(tmp_path) as deployment:
        deployment.environment |= {
            "SBTC_WATCHER_HTTP_BIND": "127.0.0.1:0",
            "SBTC_WATCHER_MEMPOOL_INTERVAL": "1s",
        }
        yield deployment


async def check_page(page: Page) -> None:
    """Fail where a page scrolls sideways, or axe finds something, at the width that it has."""
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"scrolls sideways by {wide} px"
    if not AXE.exists():
        assert not os.environ.get("REQUIRE_NODE"), "axe-core is missing: make scripts"
        return
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    told = [
        {
            "rule": one["id"],
            "impact": one["impact"],
            "where": [node["target"] for node in one["nodes"]],
            "why": [node["failureSummary"] for node in one["nodes"]][:2],
        }
        for one in found["violations"]
    ]
    assert not told, json.dumps(told, indent=1)


async def check_widths(page: Page) -> None:
    """Check a page as wide as a phone and as a desk, see :func:`check_page`; it stays as wide as it was."""
    before = page.viewport_size
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844})
        await check_page(page)
    if before is not None:
        await page.set_viewport_size(before)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiFixture]:
    """The server with its pages, and a chain that stands until a test moves it."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as made:
        yield made
    fixture.database.close()
