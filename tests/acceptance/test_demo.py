"""The demo as its own process: on a terminal, in a pipe, interrupted, with a shop that refuses webhooks."""

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
FAST = (*DEMO, "--fast")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

#: Webhooks that arrive in all scenes together.
WEBHOOKS = sum(len(scene.expects) for scene in SCENES)


def test_the_demo_shows_every_scene_and_verifies_every_webhook(
    demo_environment: dict[str, str], tmp_path: Path
) -> None:
    """In a pipe: exit 0 within 30 seconds, plain lines, nothing on stderr, no file left."""
    began = time.monotonic()
    done = _in_a_pipe(demo_environment)
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert "standardwebhooks" in done.stdout
    assert [scene.title for scene in SCENES if scene.title not in done.stdout] == []
    assert len(re.findall(r"merchant  ✔ .* · verified · ", done.stdout)) == WEBHOOKS
    assert f"{WEBHOOKS} of {WEBHOOKS} expected webhooks arrived" in done.stdout
    assert "sbtc-watcher run" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # The merchant that was down gets the same webhook three times.
    story = done.stdout.partition("The merchant is down twice")[2].partition("\n\n")[0]
    assert re.findall(r"attempt (\d)", story) == ["1", "2", "3"]
    assert len(set(re.findall(r"webhook-id (\S+)", story))) == 1


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_three_lanes_fit_its_width(demo_environment: dict[str, str], width: int) -> None:
    code, output = _on_a_terminal(demo_environment, width)
    assert code == 0, output
    assert "\x1b[" in output
    lines = [ESCAPE.sub("", line).rstrip("\r") for line in output.split("\n")]
    assert max(map(len, lines)) <= width
    lanes = [line for line in lines if re.match(r" CHAIN +│ WATCHER +│ MERCHANT", line)]
    assert len(lanes) == len(SCENES)
    assert sum("· verified" in line for line in lines) == WEBHOOKS


def test_no_color_is_obeyed_on_a_terminal(demo_environment: dict[str, str]) -> None:
    code, output = _on_a_terminal(demo_environment | {"NO_COLOR": "1"}, 100)
    assert code == 0, output
    assert "\x1b" not in output
    assert f"{WEBHOOKS} of {WEBHOOKS}" in output


def test_characters_that_a_terminal_cannot_show_are_replaced(demo_environment: dict[str, str]) -> None:
    done = _in_a_pipe(demo_environment | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "?" not in done.stdout


def test_a_webhook_that_never_arrives_fails_the_demo_and_is_named(demo_environment: dict[str, str]) -> None:
    script = "import sys; from watcher.demo import run; sys.exit(run(True, closed=['top-up']))"
    done = _in_a_pipe(demo_environment, sys.executable, "-c", script)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout + done.stderr
    assert "✘ missing: succeeded of scene “Underpaid, then topped up”" in done.stdout
    assert done.stdout.count("✘ missing") == 1
    assert "expected webhooks arrived" not in done.stdout


def test_a_watcher_that_does_not_follow_fails_the_demo_and_everything_is_named(
    demo_environment: dict[str, str],
) -> None:
    script = (
        "import sys; from watcher.demo import environment, run; "
        "environment.WAIT_TIMEOUT_SECONDS = -1.0; sys.exit(run(True))"
    )
    done = _in_a_pipe(demo_environment, sys.executable, "-c", script)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout + done.stderr
    assert done.stdout.count("✘ missing: ") == WEBHOOKS
    assert "✘ the watcher did not follow to block 1000" in done.stdout


def test_a_reader_that_goes_away_ends_the_demo_quietly(demo_environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        FAST, env=demo_environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(timeout=30), process.stderr.read()) == (141, b"")
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_the_demo_quietly(
    demo_environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *DEMO,
        env=demo_environment | {"PYTHONUNBUFFERED": "1"},
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


def _in_a_pipe(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run the fast demo, or another command, to its end without a terminal."""
    return subprocess.run(
        command or FAST, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def _on_a_terminal(environment: dict[str, str], width: int) -> tuple[int, str]:
    """Run the fast demo on a pseudo terminal; return its exit code and what it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(FAST, env=environment, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # on Linux: the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(timeout=30), output.decode()
