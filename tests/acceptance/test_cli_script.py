"""The installed console script, as a user or a shell script runs it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("sbtc-watcher")
SHOP = "SP000000000000000000002Q6VF78"

#: Outputs that fail, and the message for each.
OUTPUTS = {"full": "no space left on device", "closed": "it is closed"}


class Shell:
    """Runs the script with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SBTC_WATCHER_")}
        self.environment = kept | {"SBTC_WATCHER_DATABASE_URL": f"sqlite:///{folder}/state/watcher.db"}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code."""
        done = subprocess.run(
            [SCRIPT, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def into(self, output: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose standard output fails."""
        to = {"full": ">/dev/full", "closed": ">&-"}[output]
        line = f"{shlex.join([str(SCRIPT), *arguments])} {to}"
        return subprocess.run(
            line, shell=True, env=self.environment, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_from_a_fresh_machine_to_an_intent_with_nothing_but_json_on_stdout(
    shell: Shell, tmp_path: Path
) -> None:
    """Adding the first merchant creates the database, in a folder that only its owner may read."""
    fresh = shell("status", "--json", code=1)
    assert (fresh.stdout, fresh.stderr.startswith("error: no database at ")) == ("", True)
    assert not (tmp_path / "state").exists()
    added = shell("merchants", "add", "Tea shop", "--recipient", SHOP, "--json")
    assert added.stderr == ""
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    merchant = json.loads(added.stdout)
    assert json.loads(shell("status", "--json", code=1).stdout)["state"] == "starting"
    created = shell(
        "intents", "create", "--merchant", merchant["merchant"]["id"], "--amount", "50000", "--json"
    )
    assert created.stderr == ""
    intent = json.loads(created.stdout)
    assert (intent["status"], intent["amount"], intent["recipient"]) == ("pending", "50000", SHOP)
    assert json.loads(shell("intents", "list", "--json").stdout)["data"] == [intent]
    shown = shell("intents", "show", intent["id"])
    assert "50,000 sats" in shown.stdout
    assert "\x1b" not in shown.stdout, "no colours in a pipe"


def test_mistakes_are_one_line_on_stderr_with_the_promised_exit_code(shell: Shell) -> None:
    merchant = json.loads(shell("merchants", "add", "Shop", "--recipient", SHOP, "--json").stdout)[
        "merchant"
    ]["id"]
    wrong = shell("intents", "create", "--merchant", merchant, "--amount", "-5", code=2)
    assert (wrong.stdout, wrong.stderr.count("\n")) == ("", 1)
    assert wrong.stderr.startswith("error: amount: '-5' is not a number of base units")
    missing = shell("intents", "show", "pi_x", "--json", code=1)
    assert (missing.stdout, missing.stderr.splitlines()[0]) == ("", "error: no intent pi_x")
    shell.environment["SBTC_WATCHER_NETWRK"] = "testnet"
    unknown = shell("status", code=2)
    assert "SBTC_WATCHER_NETWRK: unknown setting; did you mean SBTC_WATCHER_NETWORK?" in unknown.stderr


def test_version_and_the_module_are_the_same_program(shell: Shell) -> None:
    version = shell("--version").stdout
    module = subprocess.run(
        [sys.executable, "-m", "watcher", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert version == module.stdout
    assert version.startswith("sbtc-watcher ")


def test_ctrl_c_and_a_closed_pipe_end_it_quietly(shell: Shell) -> None:
    shell("db", "upgrade")
    watching = subprocess.Popen(
        [SCRIPT, "status", "--watch"], env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # Python's own handler is set from the start; once the database's files exist, the imports are done.
    deadline = time.monotonic() + 30
    log = Path(shell.environment["SBTC_WATCHER_DATABASE_URL"].removeprefix("sqlite:///") + "-wal")
    while not log.exists() and time.monotonic() < deadline:
        os.sched_yield()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (130, b"")
    reading, writing = os.pipe()
    os.close(reading)
    unread = subprocess.run(
        [SCRIPT, "db", "current", "--json"],
        env=shell.environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (unread.returncode, unread.stderr) == (141, b"")


@pytest.mark.parametrize(
    "arguments", [("merchants", "list"), ("status", "--json"), ("--help",)], ids=" ".join
)
@pytest.mark.parametrize("output", ["full", "closed"])
def test_output_that_goes_nowhere_is_one_line_and_an_exit_code(
    shell: Shell, arguments: tuple[str, ...], output: str
) -> None:
    shell("merchants", "add", "Tea shop", "--recipient", SHOP)
    done = shell.into(output, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: standard output: {OUTPUTS[output]}"]


@pytest.mark.parametrize("output", ["full", "closed"])
def test_a_key_that_cannot_be_printed_is_not_made(shell: Shell, output: str) -> None:
    done = shell.into(output, "merchants", "add", "Tea shop", "--recipient", SHOP)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: standard output: {OUTPUTS[output]}",
        "hint: nothing was changed",
    ]
    assert json.loads(shell("merchants", "list", "--json").stdout)["data"] == []
