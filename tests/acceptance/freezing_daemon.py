"""Follower with a lease of two seconds that freezes once, on demand, in the middle of a step.

Usage: ``python -m tests.acceptance.freezing_daemon FILE``; when the file exists, the process removes it and
stops itself (SIGSTOP) right before the commit. Settings come from the environment as for ``run``.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from watcher import log
from watcher.config.load import load_settings
from watcher.daemon import main as daemon_main
from watcher.indexer import leader
from watcher.store import chain_state, database

if __name__ == "__main__":
    log.configure("json", "info")
    armed = Path(sys.argv[1])
    leader.LEASE_SECONDS = 2.0
    database.IDLE_TIMEOUT_SECONDS = 2
    move_cursor = chain_state.move_cursor

    def freeze(*args: Any, **named: Any) -> None:
        move_cursor(*args, **named)
        if armed.exists():
            armed.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    chain_state.move_cursor = freeze
    sys.exit(daemon_main.run(load_settings(), frozenset({"follower"}), once=False))
