"""A simulated stacks-node that posts recorded bodies of ``/new_block``, and serves its RPC from them.

``python -m chain.testing.recorded_node FILE …`` beside ``sbtc-watcher run`` shows an own node without one:
the blocks are what a node once said. The first is the tip when the daemon starts and is not posted.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain.testing.node import SimulatedNode
from chain.testing.node_payloads import Body


def read_bodies(files: Sequence[Path]) -> list[Body]:
    """Read recorded bodies, as they are or as the ``payload`` of a recording."""
    bodies = []
    for file in files:
        document: dict[str, Any] = json.loads(file.read_text())
        bodies.append(document.get("payload", document))
    return bodies


async def replay(
    bodies: Sequence[Body], node: SimulatedNode, every: float, *, stop: asyncio.Event | None = None
) -> None:
    """Post a body ``every`` seconds, then serve until ``stop`` is set (None: for ever)."""
    node.process(bodies[0], post=False)
    async with node:
        sys.stdout.write(f"A simulated node at {node.url}; it posts to {node.observer}\n")
        for body in bodies[1:]:
            await asyncio.sleep(every)
            node.process(body)
            await node.posted(within=3600)
            sys.stdout.write(f"block {body['block_height']} {body['index_block_hash']} was taken\n")
            sys.stdout.flush()
        await (stop or asyncio.Event()).wait()


def main() -> None:
    """Parse the arguments and post."""
    parser = argparse.ArgumentParser(
        prog="python -m chain.testing.recorded_node", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="in the order of the chain")
    parser.add_argument("--port", type=int, default=20443, help="of the RPC on 127.0.0.1 (default: 20443)")
    parser.add_argument("--observer", default="127.0.0.1:3700", metavar="HOST:PORT", help="to post to")
    parser.add_argument("--token", help="the node's auth_token, for replays")
    parser.add_argument("--mainnet", action="store_true", help="say so; recordings are of test networks")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two blocks")
    arguments = parser.parse_args()
    node = SimulatedNode(
        observer=arguments.observer,
        token=arguments.token,
        network_id=1 if arguments.mainnet else 0x80000000,
        port=arguments.port,
    )
    try:
        asyncio.run(replay(read_bodies(arguments.files), node, arguments.every))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
