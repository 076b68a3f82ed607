"""Events of a real ledger, the APIs of its chain, and the command ``verify``."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from chain.testing import ScriptedApi, ScriptedChain, Tx, txs
from notifier.schema import event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.unit.watcher.cli.runner import Answer
from watcher.cli.app import call

Json = Any


class VerifyFixture:
    """A ledger that sends events, and what a receiver does with them."""

    def __init__(self, folder: Path, stack: AsyncExitStack, capture: pytest.CaptureFixture[str]) -> None:
        # Behind this machine's clock: blocks of the future are refused.
        chain = ScriptedChain(time=int(time.time()) - 50_000)
        self.folder = folder
        self.ledger = LedgerFixture(folder, chain=chain)
        self.ledger.clock.now = chain.tip.time
        self.chain = chain
        self._stack = stack
        self._capture = capture

    async def serve(self, chain: ScriptedChain | None = None, **options: Any) -> ScriptedApi:
        """Start an API of the chain."""
        api = ScriptedApi(chain or self.chain, ping_interval=None, **options)
        return await self._stack.enter_async_context(api)

    def paid(self, amount: int = 50_000, **fields: Any) -> str:
        """Create an intent over 50,000 sats and pay it with its memo; return its id."""
        intent = self.ledger.create(**fields)
        self.ledger.mine(self.transfer(intent, amount))
        return intent

    def transfer(self, intent: str, amount: int = 50_000) -> Tx:
        return txs.sbtc_transfer(PAYER, SHOP, amount, self.ledger.memo(intent))

    def event(self, intent: str) -> Json:
        """Return the newest event of an intent, as it is sent."""
        query = select(event.c.body).where(event.c.intent == intent).order_by(event.c.sequence.desc())
        with self.ledger.database.read() as connection:
            return json.loads(connection.execute(query.limit(1)).scalar_one())

    async def verify(
        self, what: Json, *apis: ScriptedApi, code: int = 0, more: tuple[str, ...] = ()
    ) -> Answer:
        """Run ``verify`` on an event, or on any bytes."""
        file = self.folder / "event.json"
        file.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())
        options = [part for api in apis for part in ("--api", api.url)]
        self._capture.readouterr()
        found = await asyncio.to_thread(call, ["verify", str(file), *options, *more])
        out, err = self._capture.readouterr()
        assert found == code, f"exit {found}\n{out}{err}"
        return Answer(code=found, out=out, err=err)


def tampering(**lies: Callable[[Json], None]) -> Callable[[str, Json], Json]:
    """Return what changes the answers of some routes."""

    def tamper(route: str, body: Json) -> Json:
        if route in lies:
            body = json.loads(json.dumps(body))
            lies[route](body)
        return body

    return tamper
