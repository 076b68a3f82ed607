"""Debian's Firefox, driven by WebDriver BiDi, which it speaks itself."""

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

EXECUTABLE = shutil.which("firefox-esr") or shutil.which("firefox")
MISSING = None if EXECUTABLE else "firefox is not installed: apt-get install firefox-esr"

#: Nothing is asked of Mozilla's servers, and pages are in English.
_PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "extensions.update.enabled": False,
    "focusmanager.testmode": True,  # keys act although the window has no screen
    "intl.accept_languages": "en",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9",
    "toolkit.telemetry.enabled": False,
}


class Refused(Exception):
    """The browser did not do what it was asked: its error's name, and the message."""


class Firefox:
    """One window. Made by :func:`firefox`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._window = ""
        #: What pages logged as errors.
        self.errors: list[str] = []

    async def start(self) -> None:
        """Begin a session, and note errors from then on."""
        await self._ask("session.new", capabilities={})
        await self._ask("session.subscribe", events=["log.entryAdded"])
        # A window of its own has the keyboard; in the first one the address bar has it.
        self._window = (await self._ask("browsingContext.create", type="window"))["context"]

    async def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        await self._ask("browsingContext.navigate", context=self._window, url=url, wait="complete")
        await self._ask("browsingContext.activate", context=self._window)  # for the keyboard

    async def run(self, expression: str, *, frame: bool = False) -> Any:
        """Return the value of an expression in the page, or in its last frame; None where there is none."""
        context = await self._frame() if frame else self._window
        if context is None:
            return None
        answer = await self._ask(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((it) => JSON.stringify(it) ?? 'null')",
            target={"context": context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise AssertionError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def press(self, *keys: str, frame: bool = False) -> None:
        """Press keys one after another, where the focus is."""
        context = await self._frame() if frame else self._window
        try:
            await self._ask("input.performActions", context=context, actions=[typed(keys)])
        except Refused as error:
            # The key has closed the frame before it was released.
            if not frame or error.args[0] != "no such frame":
                raise

    async def _frame(self) -> str | None:
        tree = await self._ask("browsingContext.getTree", root=self._window)
        frames = tree["contexts"][0]["children"]
        return frames[-1]["context"] if frames else None

    async def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(60):
            while True:
                told: Mapping[str, Any] = json.loads(await self._socket.recv())
                if told.get("method") == "log.entryAdded" and told["params"]["level"] == "error":
                    self.errors.append(str(told["params"]["text"]))
                if told.get("id") == number:
                    if told["type"] != "success":
                        raise Refused(told["error"], told["message"])
                    return told["result"]


def typed(keys: Sequence[str]) -> dict[str, Any]:
    """Return the presses of keys as WebDriver's actions, which both of its kinds share."""
    pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
    return {"type": "key", "id": "keyboard", "actions": pressed}


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Firefox]:
    """Run Firefox with a fresh profile in a folder."""
    assert EXECUTABLE is not None
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        *(EXECUTABLE, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0"),
        *("--width", "1280", "--height", "900", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(60):
            while (
                found := re.search(rb"listening on (ws://\S+)", line := await process.stderr.readline())
            ) is None:
                assert line, "firefox ended"
        drain = asyncio.create_task(process.stderr.read())
        async with connect(f"{found[1].decode()}/session", max_size=None) as socket:
            browser = Firefox(socket)
            await browser.start()
            yield browser
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if drain is not None:
            await drain
