"""The demo as people start it: a process of its own, on a terminal, in a pipe, interrupted, and with a shop that is shut."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from watcher.demo.scenes import SCENES

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "watcher", "demo")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

#: Webhooks that arrive in all scenes together.
WEBHOOKS = sum(len(scene.expects) for scene in SCENES)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files, home and settings are not the user's; the settings are nonsense."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        kept.pop(name, None)
    folders = {name: tmp_path / name.lower() for name in ("TMPDIR", "HOME", "STATE_DIRECTORY")}
    for folder in folders.values():
        folder.mkdir()
    return kept | {name: str(folder) for name, folder in folders.items()} | {
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "SBTC_WATCHER_NETWORK": "nonsense",
        "SBTC_WATCHER_CONFIG": str(tmp_path / "there-is-none.toml"),
    }  # fmt: skip


def test_the_demo_shows_every_scene_and_verifies_every_webhook(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """In a pipe: exit 0 within 30 seconds, plain lines, nothing on stderr, no file left."""
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603 (our own program)
        (*DEMO, "--fast"), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert time.monotonic() - began < 30
    assert "\x1b" not in done.stdout
    assert "standardwebhooks" in done.stdout
    for scene in SCENES:
        assert scene.title in done.stdout
    heard = [line for line in done.stdout.splitlines() if "verified" in line and "merchant  ✔" in line]
    assert len(heard) == WEBHOOKS
    assert f"{WEBHOOKS} of {WEBHOOKS} expected webhooks arrived" in done.stdout
    assert "sbtc-watcher run" in done.stdout
    assert [
        str(path) for name in ("tmpdir", "home", "state_directory") for path in (tmp_path / name).iterdir()
    ] == []


def test_the_merchant_that_was_down_gets_one_webhook_id_on_the_third_attempt(
    environment: dict[str, str],
) -> None:
    done = subprocess.run(  # noqa: S603
        (*DEMO, "--fast"), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    story = done.stdout.partition("The merchant is down twice")[2].partition(" 9  ")[0]
    ids = re.findall(r"webhook-id (\S+)", story)
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert re.findall(r"attempt (\d)", story) == ["1", "2", "3"]


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_three_lanes_fit_its_width(environment: dict[str, str], width: int) -> None:
    code, output = _on_a_terminal(environment, width)
    assert code == 0, output
    assert "\x1b[" in output
    lines = [ESCAPE.sub("", line).rstrip("\r") for line in output.split("\n")]
    assert max(map(len, lines)) <= width
    lanes = [line for line in lines if re.match(r" CHAIN +│ WATCHER +│ MERCHANT", line)]
    assert len(lanes) == len(SCENES)
    assert sum("· verified" in line for line in lines) == WEBHOOKS


def test_no_color_is_obeyed_on_a_terminal(environment: dict[str, str]) -> None:
    code, output = _on_a_terminal(environment | {"NO_COLOR": "1"}, 100)
    assert code == 0, output
    assert "\x1b" not in output
    assert f"{WEBHOOKS} of {WEBHOOKS}" in output


def test_letters_that_a_terminal_cannot_show_are_replaced(environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603
        (*DEMO, "--fast"),
        env=environment | {"PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"?" not in done.stdout


def test_a_webhook_that_never_arrives_fails_the_demo_and_is_named(environment: dict[str, str]) -> None:
    script = "import sys; from watcher.demo import run; sys.exit(run(True, closed=['top-up']))"
    done = subprocess.run(  # noqa: S603
        (sys.executable, "-c", script),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, ""), done.stdout + done.stderr
    assert "✘ missing: succeeded of scene “Underpaid, then topped up”" in done.stdout
    assert done.stdout.count("✘ missing") == 1
    assert f"{WEBHOOKS} of {WEBHOOKS}" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_the_demo_quietly(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *DEMO,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while b"alice pays" not in await process.stdout.readline():
            pass
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")
    assert b"missing" not in out
    assert list((tmp_path / "tmpdir").iterdir()) == []


def _on_a_terminal(environment: dict[str, str], width: int) -> tuple[int, str]:
    """Run the fast demo on a pseudo terminal; return its exit code and what it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(  # noqa: S603
        (*DEMO, "--fast"), env=environment, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # how Linux says that nobody has the other end open
        pass
    finally:
        os.close(ours)
    return process.wait(timeout=30), output.decode()
