"""Daemon that kills itself (SIGKILL) at a named point of a ledger step or a node's post, once a file exists.

Usage: ``python -m tests.acceptance.dying_daemon POINT FILE``; settings come from the environment as for
``run``.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.node import observer
from watcher.config.load import load_settings
from watcher.daemon import main as daemon_main
from watcher.indexer import leader
from watcher.store import chain_state, node_posts
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store

#: Points of a step to die at: module and function, and whether before or after it runs.
POINTS: dict[str, tuple[Any, str, bool]] = {
    "before the headers": (chain_state, "add_headers", True),
    "after the transfers": (transfer_store, "put_transfers", False),
    "before the decision is stored": (intent_store, "save_decisions", True),
    "before the cursor moves": (chain_state, "move_cursor", True),
    "before the commit": (chain_state, "move_cursor", False),
}


#: Points of taking a node's post to die at.
POST_POINTS: dict[str, tuple[Any, str, bool]] = {
    "before the post is stored": (node_posts, "add_block", True),
    "before the commit of the post": (node_posts, "add_block", False),
    "before the post is answered": (observer, "_answer", True),
}


def arm(point: str, armed: Path) -> None:
    """Kill the process at ``point`` of the first step or post while ``armed`` exists, like a power cut."""
    owner, name, before = (POINTS | POST_POINTS)[point]
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*args: Any, **named: Any) -> Any:
        if not armed.exists():
            return original(*args, **named)
        if not before:
            original(*args, **named)
        return os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    leader.LEASE_SECONDS = 2.0  # the next process need not wait for long
    arm(sys.argv[1], Path(sys.argv[2]))
    sys.exit(daemon_main.run(load_settings(), daemon_main.ROLES, once=False))
