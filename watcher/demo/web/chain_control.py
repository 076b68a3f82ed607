"""The scripted chain of the browser's demo: it goes on by itself, and does what a person asks of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from chain.testing import Tx, principal, txs
from watcher.demo import words
from watcher.demo.environment import Environment
from watcher.errors import Refused
from watcher.text import count

#: Seconds between two blocks, and of how many each is the first of a Bitcoin block.
BLOCK_SECONDS: Final = 5.0
BLOCKS_PER_BURN: Final = 6

#: Seconds that a payment is at least seen in the mempool before it is mined.
MEMPOOL_SECONDS: Final = 3.0

_HOUR = 3600
_TEN_MINUTES = 600

#: What of an amount is paid, by the name of the button.
_PARTS: Mapping[str, Callable[[int, int], int]] = {
    "pay": lambda amount, missing: missing or amount,
    "half": lambda amount, missing: max(1, amount // 2),
    "over": lambda amount, missing: amount + max(1, amount // 10),
}


class ChainControl:
    """Everything runs in one event loop. ``say`` gets a line about each thing that was done."""

    def __init__(self, environment: Environment, say: Callable[[str], None]) -> None:
        self._environment = environment
        self._chain = environment.chain
        self._say = say
        self._payer = principal("payer", environment.settings.network_facts.mainnet)
        self._paid = 0
        #: When each pending payment was made, by the monotonic clock.
        self._since: dict[str, float] = {}
        self._blocks = 0
        #: Seconds by which the chain's clock is ahead of ours.
        self._ahead = 0
        self.standing = False

    async def run(self) -> None:
        """Mine a block every few seconds, unless the chain stands still."""
        while True:
            await asyncio.sleep(BLOCK_SECONDS)
            self._environment.api.requests.clear()  # it keeps them for tests
            if not self.standing:
                self.mine(burn=self._blocks % BLOCKS_PER_BURN == 0)

    def state(self) -> dict[str, Any]:
        """Return what the page shows of the chain."""
        tip = self._chain.tip
        return {
            "height": tip.height,
            "burn_height": tip.burn_height,
            "time": tip.time,
            "pending": len(self._chain.mempool.pending()),
            "standing": self.standing,
        }

    def pay(self, intent: Mapping[str, Any], part: str) -> None:
        """Send a payment for an intent into the mempool: ``pay`` what is missing, ``half``, or ``over``.

        Raises :class:`Refused` for what the demo cannot pay.
        """
        if part not in _PARTS:
            raise Refused("unknown_action", f"there is no button {part}")
        amount = _PARTS[part](int(intent["amount"]), int(intent["amount_missing"]))
        self._paid += 1
        label = f"demo {self._paid}"
        memo = intent["pay"]["memo"].encode()
        if intent["asset"] == "stx":
            tx = txs.stx_transfer(self._payer, intent["recipient"], amount, memo, label=label)
        else:
            asset = intent["asset_identifier"]
            tx = txs.sbtc_transfer(self._payer, intent["recipient"], amount, memo, asset=asset, label=label)
        self._chain.add_pending(tx)
        self._since[tx.tx_id] = time.monotonic()
        self._say(f"chain    {words.amount(amount, intent['asset'])} sent for {intent['reference']}")

    def act(self, name: str) -> None:
        """Do what a button says. Raises :class:`Refused` for a name that no button has."""
        actions: dict[str, Callable[[], None]] = {
            "block": lambda: self.mine(burn=False, everything=True),
            "burn": lambda: self.mine(burn=True, everything=True),
            "hour": self._let_an_hour_pass,
            "reorg": lambda: self._reorg(lost=False),
            "reorg_lost": lambda: self._reorg(lost=True),
            "stand": self._stand,
        }
        if name not in actions:
            raise Refused("unknown_action", f"there is no button {name}")
        actions[name]()

    def mine(self, *, burn: bool, everything: bool = False) -> None:
        """Mine a block with what has waited in the mempool for a while, or with ``everything`` in it."""
        now = time.monotonic()
        mined = [
            entry.tx
            for entry in reversed(self._chain.mempool.pending())
            if everything or now - self._since.get(entry.tx.tx_id, 0.0) >= MEMPOOL_SECONDS
        ]
        behind = round(time.time()) + self._ahead - self._chain.tip.time
        self._blocks += 1
        self._mined(mined, self._chain.mine(mined, burn=burn, seconds=max(1, behind)).height)

    def _mined(self, mined: list[Tx], height: int) -> None:
        for tx in mined:
            self._since.pop(tx.tx_id, None)
        if mined:
            self._say(f"chain    {len(mined)} mined in block {height}")

    def _let_an_hour_pass(self) -> None:
        waiting = [entry.tx for entry in reversed(self._chain.mempool.pending())]
        tip = self._chain.mine(waiting, n=_HOUR // _TEN_MINUTES, burn=True, seconds=_TEN_MINUTES)
        self._ahead = tip.time - round(time.time())
        self._mined(waiting, tip.height)
        self._say("chain    an hour passed, with 6 Bitcoin blocks")

    def _reorg(self, *, lost: bool) -> None:
        """Replace the blocks from the newest payment on; what was in them waits again, or is ``lost``."""
        if self._chain.tip.height == self._environment.first.height:
            self.mine(burn=False)  # the first block stays
        depth = self._depth_of_payment()
        self._chain.reorg(depth, burn=True)
        for entry in self._chain.mempool.pending():
            if lost:
                self._chain.drop_pending(entry.tx.tx_id)
            else:
                self._since[entry.tx.tx_id] = time.monotonic()
        told = "and their payments are lost" if lost else "and their payments wait again"
        self._say(f"chain    {count(depth, 'block')} replaced, {told}")

    def _depth_of_payment(self) -> int:
        """Return how many blocks to replace, so that the newest payment that is not final is among them."""
        tip = self._chain.tip
        final = self._environment.settings.finality_burn_blocks
        for block in reversed(self._chain.blocks):
            if tip.burn_height - block.header.burn_height >= final or block.header == self._environment.first:
                break
            if any(not tx.is_system for tx in block.txs):
                return tip.height - block.header.height + 1
        return 1

    def _stand(self) -> None:
        self.standing = not self.standing
        self._say(f"chain    {'stands still' if self.standing else 'goes on'}")
