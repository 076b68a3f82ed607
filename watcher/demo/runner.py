"""The runner of one scene: changes the chain, waits for the daemon and shows each effect."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from chain.model import BlockHeader
from chain.testing import Tx
from notifier.testing import Answer, plan_of
from watcher.demo import words
from watcher.demo.environment import Environment, Shop
from watcher.demo.outcome import Outcome
from watcher.demo.screen import Row, Screen
from watcher.domain.model import Intent
from watcher.schemas import NewPaymentIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The speed of the demo, in seconds: pauses after a row and a scene, and the webhook retry schedule."""

    row: float
    scene: float
    schedule: tuple[float, ...]
    #: The time limit of the whole demo.
    limit: float


class SceneRunner:
    """The steps of a scene's script; after each it waits for the daemon and shows the result."""

    def __init__(self, environment: Environment, screen: Screen, pace: Pace, shop: Shop) -> None:
        self.environment = environment
        self.shop = shop
        self._screen = screen
        self._pace = pace
        self._order: Intent | None = None
        self._status: str | None = None
        self._unmatched = 0
        self._history: list[str] = []
        self._shown_deliveries: set[str] = set()

    @property
    def order(self) -> Intent:
        """The scene's intent."""
        assert self._order is not None, "a scene begins with an order"
        return self._order

    @property
    def memo(self) -> bytes:
        """The order's reference as a payment's memo."""
        return self.order.reference.encode()

    async def create_order(self, amount: int, *, asset: str = "sbtc", **fields: Any) -> Intent:
        """Create an intent for the shop; ``amount`` in base units."""
        request = NewPaymentIntent(amount=amount, asset=asset, **fields)
        self._order = await self.environment.create_intent(self.shop, request)
        lines = [
            Text(f"asks for {words.amount(amount, asset)}"),
            Text(f"ref {self._order.reference}", "bold"),
        ]
        await self._show([], lines)
        return self._order

    async def mine(self, caption: str, txs: Iterable[Tx] = (), **how: Any) -> BlockHeader:
        """Mine blocks, with the keywords of :meth:`ScriptedChain.mine`, and show the result."""
        header = self.environment.chain.mine(txs, **how)
        await self._show([words.block(header, self.environment.first), Text(caption)], [])
        return header

    async def fork(self, caption: str, below: BlockHeader, txs: Iterable[Tx] = ()) -> BlockHeader:
        """Fork the chain: a branch, one block longer, replaces ``below`` and the blocks above it."""
        chain = self.environment.chain
        lost = chain.tip.height - below.height + 1
        branch = chain.fork(below.height - 1)
        branch.mine(txs, burn=True)
        branch.mine(n=lost, burn=True)
        gone = Text(f"↶ reorg, {lost} block{'s' if lost > 1 else ''} gone", "bold red")
        await self._show([words.block(branch.tip, self.environment.first), gone, Text(caption)], [])
        return branch.tip

    def fail_next(self, *statuses: int) -> None:
        """Make the shop's server answer its next requests with these HTTP statuses."""
        self.environment.receiver.plan(*plan_of(statuses), path=self.shop.path)

    def close_shop(self) -> None:
        """Make the shop's server answer 503 from now on."""
        self.environment.receiver.always(Answer(status=503), self.shop.path)

    async def _show(self, chain: list[Text], merchant: list[Text]) -> None:
        """Wait for the commit, show a row; then a row for each further delivery attempt."""
        await self.environment.followed()
        row = Row(
            chain=chain, watcher=await self._status_lines(), merchant=merchant, from_merchant=bool(merchant)
        )
        if row.from_merchant:
            ttl = words.elapsed(self.order.expires_at - self.order.created_at)
            row.watcher.append(Text(f"expires in {ttl}", "dim"))
        for delivery in await self.environment.deliveries(self.shop):
            if delivery["id"] in self._shown_deliveries:
                continue
            self._shown_deliveries.add(delivery["id"])
            await self._follow_delivery(delivery["id"], row)
            row = Row()
        if not row.empty:
            if not row.merchant:
                row.merchant.append(Text("no webhook", "dim"))
            await self._put(row)

    async def _status_lines(self) -> list[Text]:
        """Return the order's status, and what changed since the last row."""
        document = await self.environment.intent(self.order.id)
        lines = words.status_lines(document, self._status)
        history = words.history(document)
        lines += [Text(line, "dim") for line in history if line not in self._history]
        unmatched = await self.environment.unmatched(self.shop)
        fresh = unmatched[: len(unmatched) - self._unmatched]
        lines += [Text(f"ignored: {transfer['unmatched']}", "red") for transfer in fresh]
        self._status, self._history, self._unmatched = document["status"], history, len(unmatched)
        return lines

    async def _follow_delivery(self, delivery_id: str, row: Row) -> None:
        """Show a delivery's attempts until the shop accepts it or the watcher gives up."""
        number, tried_at = 0, ""
        while True:
            number += 1
            delivery, attempt = await self.environment.attempt(delivery_id, number)
            if tried_at:
                row.watcher.append(Text(f"{words.between(tried_at, attempt['at']):.1f} s later", "dim"))
            row.merchant += self._attempt_lines(delivery, attempt)
            await self._put(row)
            if len(delivery["log"]) == number and delivery["status"] != "pending":
                break
            row = Row(watcher=[Text("tries again", "yellow")])
            tried_at = attempt["at"]
        if delivery["status"] == "dead":
            await self._put(Row(watcher=[Text("gives up: dead", "bold red")]))

    def _attempt_lines(self, delivery: dict[str, Any], attempt: dict[str, Any]) -> list[Text]:
        number, status = attempt["number"], attempt["status_code"]
        came = self.environment.arrivals(self.shop, delivery["event"])
        if _accepted(attempt) and came[-1].refused is None:
            return words.webhook(came[-1].document, number)
        lines = [Text(f"✘ attempt {number}: {status or attempt['error']}", "bold red")]
        lines.append(Text(f"webhook-id {words.short_id(delivery['event'])}", "dim"))
        return lines

    async def _put(self, row: Row) -> None:
        self._screen.row(row)
        await asyncio.sleep(self._pace.row)


async def count_webhooks(environment: Environment, shop: Shop, outcome: Outcome) -> None:
    """Fill in what arrived at a shop, from its received requests and the watcher's log of attempts."""
    for delivery in await environment.deliveries(shop):
        came = environment.arrivals(shop, delivery["event"])
        accepted = sum(_accepted(attempt) for attempt in delivery["log"])
        outcome.attempts += len(delivery["log"])
        outcome.arrived += [words.event_name(arrival.document) for arrival in came[:1] * accepted]
    outcome.refused = sum(arrival.refused is not None for arrival in environment.receiver.at(shop.path))


def _accepted(attempt: dict[str, Any]) -> bool:
    return attempt["status_code"] is not None and 200 <= attempt["status_code"] < 300
