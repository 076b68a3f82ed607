"""Fixtures of the indexer's tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from tests.integration.watcher.indexer.two_sources import START, LyingSourceFixture
from tests.integration.watcher.indexer.verifier_fixture import VerifierFixture


@pytest.fixture
async def rig(tmp_path: Path, backend: str) -> AsyncIterator[LyingSourceFixture]:
    chain = ScriptedChain(time=START)
    database = harness.open_database(tmp_path)
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(ScriptedApi(chain, ping_interval=None)) for _ in range(2)]
        rig = LyingSourceFixture(chain, apis, database)
        stack.push_async_callback(rig.pool.aclose)
        await rig.poll_once()
        harness.add_merchant(database)
        yield rig
    database.close()


@pytest.fixture
def verified(rig: LyingSourceFixture) -> VerifierFixture:
    return VerifierFixture(rig)
