"""A VM for the session; without node the tests are skipped, or fail where REQUIRE_NODE says that node must be there."""

from collections.abc import Iterator

import pytest

from tests.integration.contracts.vm import Vm, running


@pytest.fixture(scope="session")
def vm() -> Iterator[Vm]:
    """The real Clarity VM with the payment contract deployed."""
    yield from running()
