"""One scene being played: its shop, its order, and each step's effect as it is read back and shown."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from chain.model import BlockHeader
from chain.testing import Tx
from notifier.testing import Answer, plan_of
from watcher.demo import words
from watcher.demo.outcome import Outcome
from watcher.demo.screen import Row, Screen
from watcher.demo.stage import Environment, Shop
from watcher.domain.model import Intent
from watcher.schemas import NewPaymentIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the demo goes; seconds. ``schedule`` are the waits before the attempts at a webhook."""

    row: float
    scene: float
    schedule: tuple[float, ...]
    #: The whole demo ends after so long, whatever happens.
    limit: float


class SceneRunner:
    """Lets a scene's script change the chain; after each change waits for the daemon and shows what came of it."""

    def __init__(self, environment: Environment, screen: Screen, pace: Pace, shop: Shop) -> None:
        self.environment = environment
        self.shop = shop
        self._screen = screen
        self._pace = pace
        self._order: Intent | None = None
        self._status: str | None = None
        self._unmatched = 0
        self._history: list[str] = []
        self._heard: set[str] = set()

    @property
    def order(self) -> Intent:
        """The intent that this scene is about."""
        assert self._order is not None, "a scene begins with an order"
        return self._order

    @property
    def memo(self) -> bytes:
        """The order's reference, as payers put it into a memo."""
        return self.order.reference.encode()

    async def ask(self, amount: int, *, asset: str = "sbtc", **wishes: Any) -> Intent:
        """The shop creates an intent; base units."""
        request = NewPaymentIntent(amount=amount, asset=asset, **wishes)
        self._order = await self.environment.create_intent(self.shop, request)
        lines = [
            Text(f"asks for {words.amount(amount, asset)}"),
            Text(f"ref {self._order.reference}", "bold"),
        ]
        await self._show([], lines)
        return self._order

    async def mine(self, says: str, txs: Iterable[Tx] = (), **how: Any) -> BlockHeader:
        """Mine blocks, with :meth:`ScriptedChain.mine`'s keywords, and show what came of it."""
        header = self.environment.chain.mine(txs, **how)
        await self._show([words.block(header, self.environment.first), Text(says)], [])
        return header

    async def fork(self, says: str, below: BlockHeader, txs: Iterable[Tx] = ()) -> BlockHeader:
        """A Bitcoin fork: another branch takes the place of ``below`` and everything on it, and is one block longer."""
        chain = self.environment.chain
        lost = chain.tip.height - below.height + 1
        branch = chain.fork(below.height - 1)
        branch.mine(txs, burn=True)
        branch.mine(n=lost, burn=True)
        gone = Text(f"↶ reorg, {lost} block{'s' if lost > 1 else ''} gone", "bold red")
        await self._show([words.block(branch.tip, self.environment.first), gone, Text(says)], [])
        return branch.tip

    def fail_next(self, *statuses: int) -> None:
        """Let the shop's server answer its next requests with these statuses."""
        self.environment.receiver.plan(*plan_of(statuses), path=self.shop.path)

    def close_shop(self) -> None:
        """Let the shop's server answer 503 from now on."""
        self.environment.receiver.always(Answer(status=503), self.shop.path)

    async def _show(self, chain: list[Text], merchant: list[Text]) -> None:
        """Wait for the commit, show a row; then a row for each further attempt at a webhook."""
        await self.environment.followed()
        row = Row(chain=chain, watcher=await self._standing(), merchant=merchant, asked=bool(merchant))
        if row.asked:
            ttl = words.elapsed(self.order.expires_at - self.order.created_at)
            row.watcher.append(Text(f"expires in {ttl}", "dim"))
        for delivery in await self.environment.deliveries(self.shop):
            if delivery["id"] in self._heard:
                continue
            self._heard.add(delivery["id"])
            await self._follow_delivery(delivery["id"], row)
            row = Row()
        if not row.empty:
            if not row.merchant:
                row.merchant.append(Text("no webhook", "dim"))
            await self._put(row)

    async def _standing(self) -> list[Text]:
        """Return how the order stands, and what is new about it."""
        document = await self.environment.intent(self.order.id)
        lines = words.standing(document, self._status)
        history = words.history(document)
        lines += [Text(line, "dim") for line in history if line not in self._history]
        unmatched = await self.environment.unmatched(self.shop)
        fresh = unmatched[: len(unmatched) - self._unmatched]
        lines += [Text(f"ignored: {transfer['unmatched']}", "red") for transfer in fresh]
        self._status, self._history, self._unmatched = document["status"], history, len(unmatched)
        return lines

    async def _follow_delivery(self, delivery_id: str, row: Row) -> None:
        """Show a delivery's attempts until the shop takes it or the watcher gives it up."""
        number, tried_at = 0, ""
        while True:
            number += 1
            delivery, attempt = await self.environment.attempt(delivery_id, number)
            if tried_at:
                row.watcher.append(Text(f"{words.between(tried_at, attempt['at']):.1f} s later", "dim"))
            row.merchant += self._heard_lines(delivery, attempt)
            await self._put(row)
            if len(delivery["log"]) == number and delivery["status"] != "pending":
                break
            row = Row(watcher=[Text("tries again", "yellow")])
            tried_at = attempt["at"]
        if delivery["status"] == "dead":
            await self._put(Row(watcher=[Text("gives up: dead", "bold red")]))

    def _heard_lines(self, delivery: dict[str, Any], attempt: dict[str, Any]) -> list[Text]:
        number, status = attempt["number"], attempt["status_code"]
        came = self.environment.arrivals(self.shop, delivery["event"])
        if _taken(attempt) and came[-1].refused is None:
            return words.webhook(came[-1].document, number)
        lines = [Text(f"✘ attempt {number}: {status or attempt['error']}", "bold red")]
        lines.append(Text(f"webhook-id {words.short_id(delivery['event'])}", "dim"))
        return lines

    async def _put(self, row: Row) -> None:
        self._screen.row(row)
        await asyncio.sleep(self._pace.row)


async def count(environment: Environment, shop: Shop, outcome: Outcome) -> None:
    """Fill in what arrived at a shop: from the requests that came in and the attempts that the watcher logged."""
    for delivery in await environment.deliveries(shop):
        came = environment.arrivals(shop, delivery["event"])
        taken = sum(_taken(attempt) for attempt in delivery["log"])
        outcome.attempts += len(delivery["log"])
        outcome.arrived += [words.event_name(arrival.document) for arrival in came[:1] * taken]
    outcome.refused = sum(arrival.refused is not None for arrival in environment.receiver.at(shop.path))


def _taken(attempt: dict[str, Any]) -> bool:
    return attempt["status_code"] is not None and 200 <= attempt["status_code"] < 300
