"""A VM for the session; without node the tests are skipped, or fail where REQUIRE_NODE says that node must be there."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.contracts.vm import Vm, install, missing


@pytest.fixture(scope="session")
def vm() -> Iterator[Vm]:
    """The real Clarity VM with the payment contract deployed."""
    lacking = missing()
    if lacking is not None and os.environ.get("REQUIRE_NODE"):
        pytest.fail(lacking)
    if lacking is not None:
        pytest.skip(lacking)
    install()
    made = Vm()
    yield made
    made.close()
