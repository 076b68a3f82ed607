"""Fixtures per test, on SQLite and PostgreSQL: a migrated database, a merchant, a scripted chain."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.watcher.ledger_fixture import LedgerFixture


@pytest.fixture
def fixture(tmp_path: Path, backend: str) -> Iterator[LedgerFixture]:
    """A database that has begun to follow a chain of one block."""
    made = LedgerFixture(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def before_the_chain(tmp_path: Path, backend: str) -> Iterator[LedgerFixture]:
    """A database that has not begun to follow the chain."""
    made = LedgerFixture(tmp_path, begin=False)
    yield made
    made.database.close()
