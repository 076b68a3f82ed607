"""WebKitGTK's small browser, driven by its own WebDriver on a virtual screen: the nearest to Safari."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.other_browsers.firefox import typed

DRIVER, SCREEN = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
BROWSER = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))), None)
MISSING = (
    None
    if DRIVER and SCREEN and BROWSER
    else "WebKitGTK is not installed: apt-get install webkit2gtk-driver xvfb"
)


class WebKit:
    """One window. Made by :func:`webkit`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._session = ""
        #: The driver has no log of the page.
        self.errors: list[str] = []

    async def start(self) -> None:
        """Begin a session."""
        options = {"binary": str(BROWSER), "args": ["--automation"]}
        wanted = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}
        answer = await self._ask("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{answer['sessionId']}"

    async def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        await self._ask("POST", f"{self._session}/url", url=url)

    async def run(self, expression: str, *, frame: bool = False) -> Any:
        """Return the value of an expression in the page, or in its last frame; None where there is none."""
        if frame and not await self._enter():
            return None
        script = f"const done = arguments[0]; Promise.resolve({expression}).then(done)"
        try:
            return await self._ask("POST", f"{self._session}/execute/async", script=script, args=[])
        finally:
            if frame:
                await self._ask("POST", f"{self._session}/frame", id=None)

    async def press(self, *keys: str, frame: bool = False) -> None:
        """Press keys one after another, where the focus is."""
        if frame:
            await self._enter()
        await self._ask("POST", f"{self._session}/actions", actions=[typed(keys)])
        if frame:
            await self._ask("POST", f"{self._session}/frame", id=None)

    async def end(self) -> None:
        """Close the window."""
        await self._ask("DELETE", self._session)

    async def _enter(self) -> bool:
        """Go into the frame of the widget's window, or of the page."""
        script = (
            "return document.querySelector('sbtc-pay-window')?.shadowRoot.querySelector('iframe')"
            " ?? document.querySelector('iframe')"
        )
        found = await self._ask("POST", f"{self._session}/execute/sync", script=script, args=[])
        if found is not None:
            await self._ask("POST", f"{self._session}/frame", id=found)
        return found is not None

    async def _ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self._http.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value


@asynccontextmanager
async def webkit(folder: Path) -> AsyncIterator[WebKit]:
    """Run the browser on a screen of its own."""
    assert DRIVER is not None
    assert SCREEN is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reading, writing = os.pipe()
    screen = await asyncio.create_subprocess_exec(
        *(SCREEN, "-displayfd", str(writing), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"),
        pass_fds=(writing,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writing)
    driver: asyncio.subprocess.Process | None = None
    try:
        with os.fdopen(reading) as display:
            number = (await asyncio.to_thread(display.readline)).strip()
        driver = await asyncio.create_subprocess_exec(
            *(DRIVER, f"--port={port}", "--host=127.0.0.1"),
            env=os.environ
            | {
                "DISPLAY": f":{number}",
                "HOME": str(folder),
                "XDG_RUNTIME_DIR": str(folder),
                "LANGUAGE": "en",
                # As root its sandbox cannot start, and without a graphics card it cannot composite.
                "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
                "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, transport=httpx.AsyncHTTPTransport(retries=5)
        ) as http:
            browser = WebKit(http)
            await browser.start()
            try:
                yield browser
            finally:
                await browser.end()
    finally:
        for process in (driver, screen):
            if process is not None and process.returncode is None:
                process.terminate()
            if process is not None:
                await process.wait()
