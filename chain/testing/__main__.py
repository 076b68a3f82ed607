"""A playground Stacks chain: serves the API on loopback, mines by itself, and takes orders on stdin.

``python -m chain.testing`` beside ``sbtc-watcher run`` shows how the daemon reacts when a chain forks, an API
lags or fails, a payment is too small or aborts: the chain is simulated, but served exactly as the real API
would.
"""

import argparse
import asyncio
import itertools
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from chain.model import MEMO_BYTES
from chain.testing import VERSIONS, ScriptedApi, ScriptedChain, principal, txs
from chain.testing.node import SimulatedNode
from chain.testing.tx import Tx

#: Stacks blocks per Bitcoin block.
BLOCKS_PER_TENURE = 4

#: Longest order, in bytes.
MAX_LINE_BYTES = 4096

#: Most digits of a number in an order; amounts have at most 39.
MAX_NUMBER_DIGITS = 39

HELP = """\
pay RECIPIENT SATS [MEMO]      an sBTC transfer, mined at once
stx RECIPIENT MICROSTX [MEMO]  an STX transfer
send RECIPIENT SATS [MEMO]     an sBTC transfer that waits in the mempool for the next block
abort RECIPIENT SATS [MEMO]    an sBTC transfer that fails
mine [N]                       N blocks; bitcoin [N]: each in a Bitcoin block of its own
reorg N                        replace the newest N blocks by others without your payments
again                          mine the newest payment once more, after a reorg took it
lag N                          serve the chain without its newest N blocks (0: all of it)
fail CODE                      answer every request with that status; hang: close every connection
heal                           answer correctly again
become VERSION                 speak as API 9.0, 9.1, 9.7, or sunset: without the deprecated routes
tip, help, quit"""

NODE_HELP = """
silent, post                   the node posts no more blocks; or posts them again
sync N                         the node says that its best peer is N blocks ahead (0: that it is synced)
snapshot N                     the node is restored from a state N blocks ago; resume: it catches up"""


class Playground:
    """Executes one order at a time and returns a line of text."""

    def __init__(self, chain: ScriptedChain, api: ScriptedApi, node: SimulatedNode | None = None) -> None:
        self.chain = chain
        self.api = api
        self.node = node
        self._payer = principal("payer")
        self._count = itertools.count(1)
        self._newest: Tx | None = None
        self._pending: list[Tx] = []
        self._orders: dict[str, Callable[[list[str]], str]] = {
            "pay": lambda words: self._pay(self._sbtc(words)),
            "abort": lambda words: self._pay(self._sbtc(words).failed()),
            "stx": lambda words: self._pay(
                txs.stx_transfer(self._payer, *_payment(words), label=self._label())
            ),
            "send": self._send,
            "mine": lambda words: self.mine(_number(words, 1)),
            "bitcoin": lambda words: self.mine(_number(words, 1), burn=True),
            "reorg": self._reorg,
            "again": self._again,
            "lag": self._lag,
            "fail": self._fail,
            "hang": lambda _: self._faulty("closes every connection", self.api.faults.disconnect),
            "heal": self._heal,
            "become": self._become,
            "tip": lambda _: self.tip(),
            "help": lambda _: HELP if node is None else HELP + NODE_HELP,
        }
        if node is not None:
            self._orders |= {
                "silent": lambda _: self._posts(node, False),
                "post": lambda _: self._posts(node, True),
                "sync": lambda words: self._sync(node, _number(words, 0)),
                "snapshot": lambda words: self._snapshot(node, _number(words, None)),
                "resume": lambda _: self._resume(node),
            }

    def obey(self, line: str) -> str:
        """Execute an order; return its result or what is wrong with it."""
        try:
            words = _words(line)
            if not words:
                return ""
            order = self._orders.get(words[0])
            return order(words[1:]) if order else f"unknown order {words[0]!r}; help lists them"
        except (ValueError, IndexError, LookupError) as error:
            return f"not done: {error}"

    def mine(self, n: int = 1, *, burn: bool = False, paying: tuple[Tx, ...] = ()) -> str:
        """Mine ``n`` blocks at the wall clock's time, the first with the mempool's transactions."""
        if not 0 < n <= 10_000:
            raise ValueError("mine 1 to 10,000 blocks")
        listed = (*self._pending, *(tx for tx in paying if tx not in self._pending))
        for _ in range(n):
            now = max(self.chain.tip.time + 1, int(time.time()))
            bitcoin = burn or self.chain.tip.height % BLOCKS_PER_TENURE == 0
            self.chain.mine(listed, burn=bitcoin, time=now)
            self._pending, listed = [], ()
        self.api.clear()  # the request log is not used
        return self.tip()

    def tip(self) -> str:
        """Describe the chain's tip."""
        return f"block {self.chain.tip.height}, Bitcoin {self.chain.tip.burn_height}"

    def _sbtc(self, words: list[str]) -> Tx:
        return txs.sbtc_transfer(self._payer, *_payment(words), label=self._label())

    def _label(self) -> str:
        return f"order {next(self._count)}"

    def _pay(self, tx: Tx) -> str:
        self._newest = tx
        return f"{tx.tx_id} in {self.mine(paying=(tx,))}"

    def _send(self, words: list[str]) -> str:
        tx = self._sbtc(words)
        self.chain.add_pending(tx, time=int(time.time()))
        self._newest = tx
        self._pending.append(tx)
        return f"{tx.tx_id} waits for the next block"

    def _reorg(self, words: list[str]) -> str:
        depth = _number(words, None)
        if not 0 < depth < len(self.chain.blocks):
            raise ValueError(f"reorg 1 to {len(self.chain.blocks) - 1} blocks")
        self.chain.reorg(depth, burn=True)
        return f"{_blocks(depth)} orphaned; {self.tip()}"

    def _again(self, _: list[str]) -> str:
        if self._newest is None:
            raise ValueError("nothing was paid yet")
        return self._pay(self._newest)

    def _lag(self, words: list[str]) -> str:
        blocks = _number(words, None)
        self.api.lag(blocks)
        return f"the API is {_blocks(blocks)} behind"

    def _fail(self, words: list[str]) -> str:
        code = _number(words, None)
        if not 400 <= code <= 599:
            raise ValueError("fail with a status from 400 to 599")
        return self._faulty(f"answers {code}", lambda times: self.api.faults.fail(code, times=times))

    def _faulty(self, what: str, make: Callable[..., object]) -> str:
        self.api.faults.clear()
        make(times=None)
        return f"the API {what}"

    def _become(self, words: list[str]) -> str:
        [version] = words
        if version not in VERSIONS:
            raise ValueError(f"become one of {', '.join(VERSIONS)}")
        self.api.become(version)
        return f"speaks as {version}"

    def _posts(self, node: SimulatedNode, posts: bool) -> str:
        node.posts_blocks = posts
        return "the node posts new blocks" if posts else "the node posts no blocks"

    def _sync(self, node: SimulatedNode, blocks: int) -> str:
        node.blocks_behind = blocks
        return f"the node is {_blocks(blocks)} behind its peers"

    def _snapshot(self, node: SimulatedNode, blocks: int) -> str:
        if not 0 < blocks < len(self.chain.blocks):
            raise ValueError(f"go back 1 to {len(self.chain.blocks) - 1} blocks")
        node.restore(self.chain.tip.height - blocks)
        return f"the node is back at block {self.chain.tip.height - blocks}"

    def _resume(self, node: SimulatedNode) -> str:
        node.resume()
        return "the node catches up"

    def _heal(self, _: list[str]) -> str:
        self.api.faults.clear()
        self.api.lag(0)
        return "the API answers correctly"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        raise ValueError("a quotation mark or a backslash at the end leaves it open") from None


def _blocks(number: int) -> str:
    return "1 block" if number == 1 else f"{number} blocks"


def _payment(words: list[str]) -> tuple[str, int, bytes]:
    if not 2 <= len(words) <= 3:
        raise ValueError("write RECIPIENT AMOUNT [MEMO]")
    memo = words[2].encode() if len(words) == 3 else b""
    if len(memo) > MEMO_BYTES:
        raise ValueError(f"a memo has at most {MEMO_BYTES} bytes, this one {len(memo)}")
    if not (words[1].isascii() and words[1].isdecimal() and len(words[1]) <= MAX_NUMBER_DIGITS):
        raise ValueError(f"the amount is a whole number of base units, not {words[1][:50]!r}")
    return words[0], int(words[1]), memo


def _number(words: list[str], default: int | None) -> int:
    if not words and default is not None:
        return default
    if len(words) != 1 or not (
        words[0].isascii() and words[0].isdecimal() and len(words[0]) <= MAX_NUMBER_DIGITS
    ):
        raise ValueError("write one number")
    return int(words[0])


async def play(port: int, every: float, make_node: Callable[[ScriptedChain], SimulatedNode] | None) -> None:
    """Serve, mine a block ``every`` seconds (0: only on order), and execute stdin's orders to its end."""
    chain = ScriptedChain(time=int(time.time()) - 60)
    chain.mine(n=5, burn=True)
    node = None if make_node is None else make_node(chain)
    async with ScriptedApi(chain, port=port) as api, node or nullcontext():
        playground = Playground(chain, api, node)
        _say(
            f"A scripted Stacks API at {api.url}; {playground.tip()}; "
            f"a merchant's address: {principal('shop')}"
        )
        if node is not None:
            _say(f"A simulated node at {node.url}; it posts to {node.observer}")
        _say("help lists the orders")
        lines = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        miner = asyncio.create_task(_mine(playground, every))
        try:
            while True:
                try:
                    line = await lines.readline()
                except ValueError:
                    _say(f"not done: a line has at most {MAX_LINE_BYTES} bytes")
                    continue
                if not line or line.strip() == b"quit":
                    break
                if answer := playground.obey(line.decode(errors="replace")):
                    _say(answer)
        finally:
            miner.cancel()
            await asyncio.wait({miner})


async def _mine(playground: Playground, every: float) -> None:
    while every > 0:
        await asyncio.sleep(every)
        playground.mine()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Parse the arguments and run the playground."""
    parser = argparse.ArgumentParser(prog="python -m chain.testing", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8430, help="on 127.0.0.1; 0: a free one (default: 8430)")
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="SECONDS", help="between two blocks; 0: only on order"
    )
    parser.add_argument("--node", type=int, metavar="PORT", help="simulate a node too, with its RPC there")
    parser.add_argument(
        "--observer", default="127.0.0.1:3700", metavar="HOST:PORT", help="where the node posts to"
    )
    parser.add_argument("--token", help="the node's auth_token, for replays")
    arguments = parser.parse_args()
    make_node = None
    if arguments.node is not None:
        make_node = partial(
            SimulatedNode, observer=arguments.observer, token=arguments.token, port=arguments.node
        )
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or sys.stdin.isatty()):
        parser.exit(2, "orders come from a terminal or a pipe: cat FILE | python -m chain.testing\n")
    try:
        asyncio.run(play(arguments.port, arguments.every, make_node))
    except OSError as error:
        parser.exit(2, f"port {arguments.port}: {(error.strerror or str(error)).lower()}\n")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
