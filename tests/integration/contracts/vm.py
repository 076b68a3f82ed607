"""The real Clarity VM, in a node process with a JSON-lines protocol: ``contracts/vm/driver.mjs``."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chain.clarity import PrincipalValue, StringAscii, Tuple, UInt, Value, decode, encode

FOLDER = Path(__file__).parents[3] / "contracts"
DEPLOYER = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
PAYMENTS = f"{DEPLOYER}.sbtc-payments"
SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
TOY = f"{DEPLOYER}.toy-token"
SMART_WALLET = f"{DEPLOYER}.smart-wallet"

SMALLEST_NODE = 20
INSTALL_SECONDS, ANSWER_SECONDS = 300, 120


class VmError(Exception):
    """The VM threw, which on a chain aborts the transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of a call in its own block."""

    result: Value
    #: As a node writes them: {"event": kind, "data": {…}}.
    events: list[dict[str, Any]]
    height: int
    burn_height: int
    time: int

    @classmethod
    def read(cls, said: dict[str, Any]) -> "Answer":
        return cls(
            result=unhex(said["result"]),
            events=said["events"],
            height=said["height"],
            burn_height=said["burnHeight"],
            time=int(said["time"]),
        )


class Vm:
    """A session: the payment contract, the real sBTC token, the contracts in ``contracts/tests/fixtures``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "vm/driver.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._read() == "ready"

    def call(self, contract: str, name: str, *args: Value | str, sender: str) -> Answer:
        """Send a transaction; an argument may be consensus hex already."""
        hexed = [arg if isinstance(arg, str) else hexed_value(arg) for arg in args]
        return Answer.read(self.ask("call", contract=contract, name=name, args=hexed, sender=sender))

    def read(self, name: str, *args: Value) -> Value:
        """Call a read-only function of the payment contract."""
        return unhex(
            self.ask("read", contract=PAYMENTS, name=name, args=[hexed_value(argument) for argument in args])
        )

    def deploy(self, sender: str) -> str:
        """Deploy the payment contract at another address too; return its contract id."""
        self.ask("deploy", sender=sender)
        return f"{sender}.sbtc-payments"

    def mint(self, token: str | None, owner: str, amount: int) -> None:
        """Give an address some STX (no token), sBTC or toy tokens."""
        if token == TOY:
            self.call(TOY, "mint", UInt(amount), PrincipalValue.parse(owner), sender=owner)
        else:
            self.ask("mint_stx" if token is None else "mint_sbtc", owner=owner, amount=str(amount))

    def holdings(self, owner: str) -> dict[str, int]:
        """Return a principal's balances, by ``STX`` or ``contract-name.asset-name``."""
        return {asset: int(amount) for asset, amount in self.ask("holdings", owner=owner).items()}

    def ask(self, operation: str, **fields: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": operation, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        # One answer per question: nothing of the next line can be in the reader's buffer.
        if not select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise TimeoutError(f"no answer from the VM within {ANSWER_SECONDS} s")
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionError("the VM's process has ended: what went wrong is on its stderr")
        answer = json.loads(line)
        if "error" in answer:
            raise VmError(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process.stdout.close()


def require_node() -> None:
    """Install what node needs for a fixture; without node skip the tests, or fail if REQUIRE_NODE is set."""
    lacking = missing()
    if lacking is not None and os.environ.get("REQUIRE_NODE"):
        pytest.fail(lacking)
    if lacking is not None:
        pytest.skip(lacking)
    install()


def running() -> Iterator[Vm]:
    """Run a VM for a fixture, see :func:`require_node`."""
    require_node()
    made = Vm()
    yield made
    made.close()


def missing() -> str | None:
    """Return what this machine lacks to run the VM, None if nothing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return f"the contract's VM tests need node {SMALLEST_NODE} or newer, with npm"
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    if int(version.lstrip("v").partition(".")[0]) < SMALLEST_NODE:
        return f"the contract's VM tests need node {SMALLEST_NODE} or newer: this is {version.strip()}"
    return None


def install() -> None:
    """Install the locked packages unless installed; wait for another test process that is doing so."""
    lock = FOLDER / "package-lock.json"
    installed = FOLDER / "node_modules/.package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if done.returncode:
            raise RuntimeError(f"npm ci in {FOLDER} failed:\n{done.stdout}{done.stderr}")
        os.utime(installed)


def hexed_value(value: Value) -> str:
    return f"0x{encode(value).hex()}"


def unhex(text: str) -> Value:
    return decode(bytes.fromhex(text.removeprefix("0x")))


def prints(answer: Answer, topic: str) -> list[dict[str, Value]]:
    """Return the payment contract's own prints of a topic."""
    values = [
        unhex(event["data"]["raw_value"])
        for event in answer.events
        if event["event"] == "print_event" and event["data"]["contract_identifier"] == PAYMENTS
    ]
    tuples = [value.as_dict() for value in values if isinstance(value, Tuple)]
    return [entries for entries in tuples if entries["topic"] == StringAscii(topic)]
