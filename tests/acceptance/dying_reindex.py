"""``reindex`` that kills itself (SIGKILL) inside its n-th transaction.

Usage: ``python -m tests.acceptance.dying_reindex N ARGUMENTS…``; settings come from the environment.
"""

import os
import signal
import sys
from typing import Any

from watcher.cli.app import call
from watcher.store import reindex_runs


def arm(nth: int) -> None:
    """Kill the process inside the ``nth`` transaction, after all writes and before the commit."""
    original = reindex_runs.advance
    left = nth

    def deadly(*args: Any, **named: Any) -> bool:
        nonlocal left
        done = original(*args, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    reindex_runs.advance = deadly


if __name__ == "__main__":
    arm(int(sys.argv[1]))
    sys.exit(call(sys.argv[2:]))
