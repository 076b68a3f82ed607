"""A VM for the session; without node the tests are skipped, or fail if REQUIRE_NODE is set."""

from collections.abc import Iterator

import pytest

from tests.integration.contracts.vm import Vm, running


@pytest.fixture(scope="session")
def vm() -> Iterator[Vm]:
    """The real Clarity VM with the payment contract deployed."""
    yield from running()
