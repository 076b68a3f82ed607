"""A runner that calls the command line in this process, which is fast, with its own database."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from watcher.cli.app import call

SHOP = "SP000000000000000000002Q6VF78"
DATABASE_URL = "SBTC_WATCHER_DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that is all of stdout."""
        return json.loads(self.out)


@dataclass(slots=True)
class CliRunner:
    """Runs commands and checks their exit codes."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, code: int = 0) -> Answer:
        """Run a command and check its exit code."""
        self.capture.readouterr()
        found = call(arguments)
        out, err = self.capture.readouterr()
        assert found == code, f"{arguments}: exit {found}\n{out}{err}"
        return Answer(code=found, out=out, err=err)

    def doc(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and return its document."""
        return self(*arguments, "--json", code=code).json

    def merchant(self) -> str:
        """Add a merchant and return its id."""
        added = self.doc("merchants", "add", "Tea shop", "--recipient", SHOP)
        return str(added["merchant"]["id"])

    def intent(self, merchant: str, *more: str) -> Any:
        """Create an intent over 50,000 sats and return its document."""
        return self.doc("intents", "create", "--merchant", merchant, "--amount", "50000", *more)


@contextmanager
def calling(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
    *,
    fresh: bool = False,
    **settings: str,
) -> Iterator[CliRunner]:
    """Run commands with these settings only, none of this machine's; with ``fresh`` without a database."""
    if not fresh:
        harness.open_database(folder).close()
    for name in [*os.environ]:
        if name.startswith("SBTC_WATCHER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(DATABASE_URL, f"sqlite:///{folder}/watcher.db")
    monkeypatch.setenv("COLUMNS", "100")
    for name, value in settings.items():
        monkeypatch.setenv(f"SBTC_WATCHER_{name.upper()}", value)
    yield CliRunner(capture)
