"""Tools beside the daemon: the local receiver, the watched status on a terminal, shell completion."""

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.deployment import PROGRAM, ROOT, Deployment

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoaXMgdGVzdCwgMzIgYnl0ZXMgbG9uZw=="
EVENT = {
    "id": "evt_1",
    "type": "payment.succeeded",
    "data": {"payment_intent": {"id": "pi_1", "status": "succeeded", "flags": ["late"]}},
}


@asynccontextmanager
async def listening(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("listen", "--port", "0", "--secret", SECRET, *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stderr.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        async with httpx.AsyncClient(base_url=found[0]) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def signed(body: bytes, *, at: datetime | None = None, secret: str = SECRET) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", at, body.decode()),
    }


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_listener_says_of_each_webhook_whether_it_is_genuine(number: signal.Signals) -> None:
    body = json.dumps(EVENT).encode()
    old = datetime.now(UTC) - timedelta(minutes=6)
    async with listening() as (process, client):
        for headers, content, status, words in (
            (signed(body), body, 200, r"verified  payment\.succeeded  pi_1  succeeded  late  evt_1$"),
            (signed(body), body + b" ", 401, r"refused   .*No matching signature found$"),
            (signed(body, at=old), body, 401, r"refused   .*Message timestamp too old$"),
            (
                signed(body, secret=SECRET[:-4] + "AA=="),
                body,
                401,
                r"refused   .*No matching signature found$",
            ),
            ({}, body, 401, r"refused   payment\.succeeded .*Missing required headers$"),
            ({}, b"\xff\x1b[2J", 401, r"refused   .*"),
            (signed(b"[]"), b"[]", 200, r"verified  evt_1$"),
        ):
            answer = await client.post("/hook", content=content, headers=headers)
            assert answer.status_code == status
            line = (await read_line(process)).rstrip("\n")
            assert re.fullmatch(r"\d\d:\d\d:\d\d  " + words, line), line
            assert "\x1b" not in line
        process.send_signal(number)
        async with asyncio.timeout(10):
            out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_the_listener_prints_json_lines() -> None:
    body = json.dumps(EVENT).encode()
    async with listening("--json") as (process, client):
        await client.post("/a", content=body, headers=signed(body))
        await client.post("/b", content=b"no json")
        good, bad = [json.loads(await read_line(process)) for _ in range(2)]
    assert set(good) == set(bad) == {"received_at", "path", "verified", "refused", "id", "event"}
    assert (good["path"], good["verified"], good["refused"], good["id"]) == ("/a", True, None, "evt_1")
    assert good["event"] == EVENT
    assert (bad["verified"], bad["refused"], bad["event"]) == (False, "Missing required headers", None)


async def test_the_listener_shows_headers_and_pretty_json_when_asked() -> None:
    body = json.dumps(EVENT).encode()
    async with listening("--verbose") as (process, client):
        await client.post("/a", content=body, headers=signed(body))
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(await read_line(process))
    text = "".join(lines)
    assert "webhook-id: evt_1" in text
    assert json.loads(text[text.index("{\n") :]) == EVENT


@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)])
async def test_nothing_that_is_sent_ends_the_listener(options: tuple[str, ...]) -> None:
    """Any body is answered 200 or 401, and the next webhook is still shown."""
    odd = [
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"type": ["x"], "data": {"payment_intent": {"id": {}, "status": 5, "flags": 5}}}',
        b'{"type": "\\ud800\\u0000", "data": {"payment_intent": {"flags": [[]]}}}',
        b"9" * 10_000,
        b"NaN",
    ]
    body = json.dumps(EVENT).encode()

    async def reading(process: asyncio.subprocess.Process) -> None:
        while "pi_1" not in (line := await read_line(process)):
            assert line, "it ended"

    async with listening(*options) as (process, client):
        shown = asyncio.create_task(reading(process))
        for content in odd:
            assert (await client.post("/", content=content)).status_code == 401
            # The verifying library decodes the body too, and rejects what it cannot decode.
            answer = await client.post("/", content=content, headers=signed(content))
            assert answer.status_code in (200, 401)
        assert (await client.post("/last", content=body, headers=signed(body))).status_code == 200
        await shown


async def test_the_listener_takes_no_endless_body() -> None:
    async with listening() as (_, client):
        answer = await client.post("/", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("secret", ["sk_live_1", "whsec_", "whsec_!!!"])
def test_a_secret_that_is_none_is_one_line(secret: str) -> None:
    found = run("listen", "--secret", secret)
    assert found.returncode == 2
    assert found.stderr.startswith("error: --secret: ")
    assert "Traceback" not in found.stderr


def test_a_listeners_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = run("listen", "--secret", SECRET, "--port", port)
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: --port: cannot listen on 127.0.0.1:{port}: ")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


async def test_status_is_watched_on_a_terminal_until_ctrl_c(deployment: Deployment) -> None:
    await deployment.start()
    await deployment.caught_up()
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("status", "--watch"),
        env=deployment.environment | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    async with asyncio.timeout(30):
        while shown.count(b"Cursor") < 2:
            shown += await asyncio.to_thread(os.read, ours, 65536)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    try:
        while piece := await asyncio.to_thread(os.read, ours, 65536):
            shown += piece
    except OSError:
        pass  # Linux's end of file on a closed terminal
    os.close(ours)
    assert b"Traceback" not in shown
    assert b"Abort" not in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_usual_shell_gets_a_completion_script(shell: str) -> None:
    found = run("--show-completion", shell)
    assert found.returncode == 0
    assert "_SBTC_WATCHER_COMPLETE" in found.stdout


def test_a_shell_completes_commands_and_options_with_the_installed_script(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None, "this test needs bash"
    program = tmp_path / "bin" / "sbtc-watcher"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m watcher "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    installed = subprocess.run(
        ["sbtc-watcher", "--install-completion", "bash"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert installed.returncode == 0, installed.stderr
    script = """
        source ~/.bashrc
        COMP_WORDS=(sbtc-watcher intents imp) COMP_CWORD=2
        _sbtc_watcher_completion sbtc-watcher; echo "${COMPREPLY[@]}"
        COMP_WORDS=(sbtc-watcher status --wat) COMP_CWORD=2
        _sbtc_watcher_completion sbtc-watcher; echo "${COMPREPLY[@]}"
    """
    found = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (found.stdout.split(), found.stderr) == (["import", "--watch"], "")
