"""Two sources, the indexer's loop and the verifier, and what they make of large payments."""

from typing import Any

from sqlalchemy import select

from chain.testing import principal, txs
from notifier.schema import event
from tests import harness
from tests.integration.watcher.indexer.two_sources import START, LyingSourceFixture, every_row
from watcher.config.types import host_of
from watcher.domain.server_info import ServerInfo
from watcher.indexer.verifier import Verifier
from watcher.services import queries
from watcher.store import verification
from watcher.store.schema import transfer

PAYER = principal("payer")
AMOUNT = 7_000_000

Json = Any


class VerifierFixture:
    """Two sources, the indexer's loop, the verifier, and one open STX intent that needs both sources."""

    def __init__(self, rig: LyingSourceFixture) -> None:
        self.rig = rig
        self.chain = rig.chain
        self.verifier = Verifier(
            rig.ledger, rig.pool, harness.WATCHED, interval=5.0, clock=rig.clock, sleep=rig.clock.sleep
        )

    def open_intent(self, name: str = "big", **changes: Any) -> str:
        fields = {"asset": "stx", "asset_identifier": "STX", "amount": AMOUNT, "two_sources": True}
        intent = harness.intent_record(name, created_at=START, **(fields | changes))
        harness.add_intents(self.rig.database, [intent])
        return intent.id

    def pay(self, name: str = "BIG", amount: int = AMOUNT) -> None:
        self.chain.mine([txs.stx_transfer(PAYER, harness.SHOP, amount, name.encode())])

    async def poll(self) -> None:
        """Poll the chain and ask about what waits, some seconds later."""
        await self.rig.poll_once()
        await self.verifier.poll()

    def state(self, intent: str) -> tuple[str, list[str]]:
        with self.rig.database.read() as connection:
            shown = queries.intent(connection, intent, server_info=ServerInfo(network="mainnet"))
        return shown["status"], shown["flags"]

    def sent(self, intent: str) -> list[str]:
        """Return the events of an intent as ``type`` or ``type:reason``, without the creation."""
        with self.rig.database.read() as connection:
            rows = connection.execute(
                select(event.c.type, event.c.reason)
                .where(event.c.intent == intent, event.c.type != "payment.created")
                .order_by(event.c.sequence)
            ).all()
        return [":".join(filter(None, (row.type.removeprefix("payment."), row.reason))) for row in rows]

    def verified_by(self) -> list[list[str] | None]:
        with self.rig.database.read() as connection:
            return list(connection.execute(select(transfer.c.verified_by).order_by(transfer.c.id)).scalars())

    def waiting(self) -> list[dict[str, Any]]:
        """Return the transfers that the verifier asks about."""
        with self.rig.database.read() as connection:
            return [dict(row) for row in verification.unverified(connection, limit=99)]

    @property
    def hosts(self) -> list[str]:
        return sorted(host_of(api.url) for api in (self.rig.liar, self.rig.honest))


def false_amount(page: Json) -> None:
    """Show every payment as one of the whole amount."""
    every_row(lambda row: row["token_transfer"].update(amount=str(AMOUNT)))(page)
