"""Signals to long-running programs: a closed terminal, nohup, and Ctrl-C for background jobs."""

import asyncio
import signal
import subprocess
import sys

import pytest

from tests.deployment import PROGRAM, ROOT, Deployment

#: Prefix that starts a command as shells start background jobs: with SIGINT ignored.
IN_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


async def test_a_closed_terminal_ends_the_daemon_as_sigterm_does(deployment: Deployment) -> None:
    """SIGHUP is an orderly stop, with exit code 0."""
    daemon = await deployment.start()
    await deployment.caught_up()
    daemon.send_signal(signal.SIGHUP)
    assert await asyncio.wait_for(daemon.wait(), 30) == 0
    assert '"service.stopped"' in (deployment.folder / "daemon.log").read_text()


async def test_nohup_keeps_the_daemon_running(deployment: Deployment) -> None:
    """A daemon started with SIGHUP ignored continues after its terminal is closed."""
    daemon = await deployment.start("nohup", *PROGRAM, "run")
    await deployment.caught_up()
    daemon.send_signal(signal.SIGHUP)
    deployment.chain.mine()
    await deployment.caught_up()
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), 30) == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("status", "--watch"), 1),  # no process follows the chain
        (("listen", "--port", "0", "--secret", "whsec_c2VjcmV0IG9mIHRoaXMgdGVzdA=="), 0),
    ],
)
async def test_what_was_started_in_the_background_ends_at_sigint(
    deployment: Deployment, command: tuple[str, ...], code: int
) -> None:
    """A program that runs until Ctrl-C obeys SIGINT even if its shell had it ignored."""
    await deployment.cli("db", "upgrade")
    process = await asyncio.create_subprocess_exec(
        *(*IN_BACKGROUND, *PROGRAM, *command),
        env=deployment.environment,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    deployment.processes.append(process)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == code


def test_a_test_run_in_the_background_lets_its_children_be_interrupted() -> None:
    """They would inherit the ignored SIGINT of a background job, and the tests of Ctrl-C would hang."""
    code = (
        "import signal, tests.conftest as c;"
        " c.pytest_configure(); print(signal.getsignal(signal.SIGINT).__name__)"
    )
    found = subprocess.run(
        [*IN_BACKGROUND, sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout.strip() == "default_int_handler"
