"""The demo in the browser as its own process: what it prints, what its pages do, and how it ends."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
WEB = (sys.executable, "-m", "watcher", "demo", "--web")


class WebDemo:
    """The running demo, and the addresses that it printed."""

    def __init__(self, process: asyncio.subprocess.Process, printed: str) -> None:
        self.process = process
        self.printed = printed
        self.addresses: dict[str, str] = dict(re.findall(r"^(\w+) +(http\S+)$", printed, re.MULTILINE))

    async def end(self, number: signal.Signals) -> str:
        """Send a signal, and return what is printed from then on."""
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            out, _ = await self.process.communicate()
        return out.decode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until something has become true."""
    async with asyncio.timeout(30):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(environment: dict[str, str], *arguments: str) -> AsyncIterator[WebDemo]:
    process = await asyncio.create_subprocess_exec(
        *(*WEB, *(arguments or ("--port", "0"))),
        env=environment | {"PYTHONUNBUFFERED": "1", "COLUMNS": "80"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(60):
            while "Ctrl-C" not in printed:
                line = (await process.stdout.readline()).decode()
                assert line, printed
                printed += line
        yield WebDemo(process, printed)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def visitor() -> httpx.AsyncClient:
    """Return a client that opens a connection for each request: a server may close one that was idle."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=20, follow_redirects=True, limits=limits)


async def test_what_the_buttons_do_reaches_the_shop_by_webhook(
    demo_environment: dict[str, str], tmp_path: Path
) -> None:
    """A stranger opens what is printed, buys, pays a half, the rest, has it reorganised away and back."""
    async with (
        running(demo_environment) as demo,
        visitor() as http,
    ):
        assert all(len(line) <= 80 for line in demo.printed.splitlines())
        assert {"Shop", "Chain", "Checkout", "Link", "Dashboard", "API"} <= demo.addresses.keys()
        for address in demo.addresses.values():
            answer = await http.get(address)
            assert answer.status_code == 200, address
        shop = demo.addresses["Shop"].rstrip("/")

        async def post(path: str, body: Any) -> httpx.Response:
            return await http.post(shop + path, json=body)

        async def newest() -> dict[str, Any]:
            found: dict[str, Any] = (await http.get(f"{shop}/state")).json()["intents"][0]
            return found

        async def becomes(**wanted: Any) -> None:
            async def stands() -> bool:
                found = await newest()
                return all(found[name] == value for name, value in wanted.items())

            await until(stands)

        bought = await post("/orders", {"item": "pot"})
        page = await http.get(bought.json()["checkoutUrl"])
        assert "A cast-iron pot" in page.text
        assert f"frame-ancestors {shop}" in page.headers["content-security-policy"]
        intent = (await newest())["id"]
        await post("/actions", {"action": "stand"})
        await post("/actions", {"action": "half", "intent": intent})
        await becomes(in_flight=True, status="pending")
        await post("/actions", {"action": "block"})
        await becomes(amount_received="1250000", amount_missing="1250000")
        await post("/actions", {"action": "pay", "intent": intent})
        await post("/actions", {"action": "burn"})
        await becomes(amount_received="2500000", status="processing")
        await post("/actions", {"action": "reorg"})
        await becomes(status="pending")
        await post("/actions", {"action": "burn"})
        await becomes(status="processing")
        await post("/actions", {"action": "burn"})
        await post("/actions", {"action": "burn"})
        await becomes(status="succeeded")

        async def told() -> bool:
            books = (await http.get(f"{shop}/orders")).json()
            return [one["event"] for one in books] == ["payment.succeeded"]

        await until(told)
        await post("/actions", {"action": "reorg_lost"})
        await becomes(flags=["reorged"])
        for _ in range(3):
            await post("/actions", {"action": "hour"})
        await becomes(status="failed")
        rest = await demo.end(signal.SIGTERM)
        assert demo.process.returncode == 0, rest
        assert re.search(r"webhook +payment\.succeeded · \w+ · verified", rest)
        assert "Traceback" not in rest
    assert list((tmp_path / "tmpdir").iterdir()) == []


async def test_what_is_wrong_is_said_and_others_pages_press_no_button(
    demo_environment: dict[str, str],
) -> None:
    """Unknown items, buttons and intents are refused in words, and a form of another site is not read."""
    async with running(demo_environment) as demo, visitor() as http:
        shop = demo.addresses["Shop"].rstrip("/")
        for path, body in (
            ("/orders", {"item": "castle"}),
            ("/orders", ["tin"]),
            ("/actions", {"action": "print_money"}),
            ("/actions", {"action": "pay", "intent": "pi_nothing"}),
            ("/actions", {"action": "steal", "intent": 5}),
        ):
            answer = await http.post(shop + path, json=body)
            assert (answer.status_code, bool(answer.json()["error"])) == (422, True), (path, body)
        assert (await http.post(f"{shop}/actions", json={"action": "reorg"})).status_code == 200
        form = await http.post(f"{shop}/actions", data={"action": "hour"})
        assert form.status_code == 415
        assert (await http.post(f"{shop}/actions", content=b"{", headers=JSON)).status_code == 422
        rest = await demo.end(signal.SIGINT)
        assert demo.process.returncode == 0
        told = " ".join(rest.split())
        assert told == "chain 1 block replaced, and their payments wait again"


async def test_a_taken_port_is_named_and_the_ports_are_free_again(demo_environment: dict[str, str]) -> None:
    """The shop's port is the one after the pages'; a second demo there is told to take another."""
    port = _two_free_ports()
    async with running(demo_environment, "--port", str(port)) as demo:
        assert demo.addresses["Checkout"].startswith(f"http://127.0.0.1:{port}/pay/")
        assert demo.addresses["Shop"] == f"http://127.0.0.1:{port + 1}/"
        for taken in (port, port - 1):
            code, told = await _run(demo_environment, "--port", str(taken))
            assert code == 2
            assert re.search(r"port \d+ of 127\.0\.0\.1 cannot be had", told)
            assert "--port 8440" in told
        await demo.end(signal.SIGTERM)
        assert demo.process.returncode == 0
    for free in (port, port + 1):
        with socket.create_server(("127.0.0.1", free)):
            pass


async def test_a_reader_that_goes_away_ends_it(demo_environment: dict[str, str], tmp_path: Path) -> None:
    """As in the terminal's demo: quietly, with nothing left behind."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(*WEB, "--port", "0"),
        env=demo_environment | {"PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    os.close(reading)
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")
    assert list((tmp_path / "tmpdir").iterdir()) == []


@pytest.mark.parametrize("arguments", [("--fast",), ("--port", "65535"), ("--port", "-1"), ("--port", "x")])
async def test_options_that_do_not_fit_are_refused(
    demo_environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Before anything starts: exit code 2 and one line."""
    code, told = await _run(demo_environment, *arguments)
    assert code == 2, told
    assert "Traceback" not in told


JSON = {"content-type": "application/json"}


async def _run(environment: dict[str, str], *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(*WEB, *arguments),
        env=environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


def _two_free_ports() -> int:
    """Return a free port whose next one is free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except (OSError, OverflowError):
                continue
