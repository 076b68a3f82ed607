"""A merchant, a scripted chain and a ledger on a real database, moved by hand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from chain.model import BlockHeader, Extend, Reorg, Step
from chain.testing import ScriptedChain, Tx, block_model, principal
from notifier.schema import event
from tests import harness
from watcher.config.settings import Settings
from watcher.indexer.ledger import Ledger, StepResult
from watcher.indexer.settler import Settler
from watcher.schemas import Assign, Cancel, Dismiss, Mark, NewMerchant, NewPaymentIntent
from watcher.services import Services, intent_requests, merchants, queries
from watcher.store.database import Database
from watcher.store.heartbeats import Heartbeat
from watcher.store.process_schema import heartbeat
from watcher.store.schema import transfer

START = 1_800_000_000
PAYER, STRANGER, SHOP = principal("payer"), principal("stranger"), principal("shop")


class LedgerFixture:
    """The daemon's database with one merchant, and the chain that it follows; tests move both by hand."""

    def __init__(
        self,
        folder: Path,
        *,
        settler: Settler = harness.SETTLER,
        begin: bool = True,
        chain: ScriptedChain | None = None,
    ) -> None:
        self.folder = folder
        self.database: Database = harness.open_database(folder)
        self.settings = Settings(
            database_url=harness.database_url(folder), payment_contract=harness.PAYMENT_CONTRACT
        )
        self.settler = settler
        self.clock = harness.Clock(START)
        self.chain = chain or ScriptedChain(time=START)
        self.ledger = Ledger(self.database, harness.RULES, settler, now=self.clock)
        self.merchant = self.add_merchant("Shop", SHOP)
        self.live("follower", "notifier")
        if begin:
            self.begin()

    def live(self, *roles: str, good_for: float = 10 * 366 * 86_400.0) -> None:
        """Let another process run these roles, and no others, for some seconds."""
        beat = Heartbeat(self.database, limit=good_for, now=self.clock)
        with self.database.begin() as connection:
            connection.execute(delete(heartbeat))
        beat.write(roles)

    def silent(self, seconds: float) -> None:
        """Make every heartbeat older by some seconds, by whichever clock judges it."""
        with self.database.begin() as connection:
            older = {"seen": heartbeat.c.seen - seconds, "until": heartbeat.c.until - seconds}
            connection.execute(update(heartbeat).values(**older))

    # The chain

    def begin(self) -> None:
        self.ledger.begin([block.header for block in self.chain.blocks], self.chain.tip)

    def mine(self, *payments: Tx, **how: Any) -> StepResult:
        """Mine a block with these transactions (and empty ones with ``n=``) and apply it as one step."""
        height = self.chain.tip.height
        self.clock.now += 0.002
        self.chain.mine(payments, **how)
        return self.ledger.apply(self.extend(height))

    def pass_time(self, seconds: int) -> StepResult:
        """Mine one empty block, some seconds later."""
        return self.mine(seconds=seconds)

    def extend(self, above: int) -> Extend:
        """Return the step that applies the chain's blocks above a height."""
        blocks = [block for block in self.chain.blocks if block.header.height > above]
        return Extend(blocks=self._models(blocks), tip=self.chain.tip)

    def fork(self, depth: int, blocks: Iterable[Iterable[Tx]] | None = None, **how: Any) -> StepResult:
        """Replace the newest blocks by others and apply that as one step."""
        self.clock.now += 0.002
        self.chain.reorg(depth, blocks, **how)
        return self.ledger.apply(self.reorg())

    def reorg(self) -> Reorg:
        """Return the step from the database's chain to the scripted one."""
        ours = {header.hash: header for header in self.ledger.window(10_000)}
        ancestor = max(
            (block.header for block in self.chain.blocks if block.header.hash in ours), key=lambda h: h.height
        )
        blocks = [block for block in self.chain.blocks if block.header.height > ancestor.height]
        return Reorg(ancestor=ancestor, blocks=self._models(blocks), tip=self.chain.tip)

    def apply(self, step: Step) -> StepResult:
        return self.ledger.apply(step)

    @property
    def tip(self) -> BlockHeader:
        return self.chain.tip

    def _models(self, blocks: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(block_model(block, harness.WATCHED) for block in blocks)

    # Operators and merchants

    def add_merchant(self, name: str, recipient: str, **more: Any) -> str:
        with self.database.begin() as connection:
            request = NewMerchant.of({"name": name, "recipient": recipient} | more)
            row, _ = merchants.add(connection, self.settings, request, now=self.clock())
        self.clock.now += 0.002  # ids of two milliseconds sort by time
        return str(row["id"])

    def create(self, merchant: str | None = None, **fields: Any) -> str:
        """Create an intent (50,000 sats at level included, by default); return its id."""
        request = NewPaymentIntent.of({"amount": 50_000, "level": "included"} | fields)
        with self.database.begin() as connection:
            made = intent_requests.create(
                connection,
                request,
                merchant_id=merchant or self.merchant,
                settings=self.settings,
                settler=self.settler,
                now=self.clock(),
            )
        self.clock.now += 0.002  # ids of two milliseconds sort by time
        return made

    @contextmanager
    def services(self, merchant: str | None = None) -> Iterator[Services]:
        """Open the services of a merchant, or of an operator, in a transaction that is committed."""
        with self.database.begin() as connection:
            yield Services(
                connection,
                self.settings,
                actor="test",
                now=self.clock(),
                merchant=merchant,
                settler_of=lambda _: self.settler,
            )

    def cancel(self, intent: str, reason: object = "canceled", merchant: str | None = None) -> None:
        with self.services(merchant) as services:
            services.cancel_intent(intent, Cancel.of({"reason": reason}))

    def mark(self, intent: str, status: object, reason: object = "seen", merchant: str | None = None) -> None:
        with self.services(merchant) as services:
            services.mark_intent(intent, Mark.of({"status": status, "reason": reason}))

    def dismiss(self, intent: str, reason: object = "sent back by hand", merchant: str | None = None) -> None:
        with self.services(merchant) as services:
            services.dismiss_intent(intent, Dismiss.of({"reason": reason}))

    def assign(
        self, transfer_id: str, intent: str, reason: object = "theirs", merchant: str | None = None
    ) -> None:
        with self.services(merchant) as services:
            services.assign_transfer(transfer_id, Assign.of({"intent": intent, "reason": reason}))

    # Results

    def show(self, intent: str) -> dict[str, Any]:
        with self.database.read() as connection:
            return queries.intent(connection, intent, server_info=harness.SETTLER.server_info)

    def status(self, intent: str) -> str:
        return str(self.show(intent)["status"])

    def memo(self, intent: str) -> bytes:
        return str(self.show(intent)["reference"]).encode()

    def terms_hash(self, intent: str) -> bytes:
        return bytes.fromhex(self.show(intent)["terms_hash"].removeprefix("0x"))

    def sent_events(self, intent: str) -> list[str]:
        """Return the events of an intent in order, as ``type`` or ``type:reason``."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(event.c.type, event.c.reason)
                .where(event.c.intent == intent)
                .order_by(event.c.sequence)
            ).all()
        return [":".join(filter(None, (row.type.removeprefix("payment."), row.reason))) for row in rows]

    def transfers(self) -> list[dict[str, Any]]:
        """Return every stored transfer, oldest first."""
        with self.database.read() as connection:
            return [
                dict(row) for row in connection.execute(select(transfer).order_by(transfer.c.id)).mappings()
            ]

    def unmatched(self) -> list[tuple[str, int]]:
        """Return reason and amount of the canonical money without an intent, oldest first."""
        rows = sorted(self.transfers(), key=lambda row: (row["height"], row["tx_index"], row["rank"]))
        return [(r["reason"], r["amount"]) for r in rows if r["intent_id"] is None and r["canonical"]]
