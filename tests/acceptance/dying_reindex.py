"""The real ``reindex`` with one thing added: inside its n-th transaction it sends itself SIGKILL.

Usage: ``python -m tests.acceptance.dying_reindex N ARGUMENTS…``; settings come from the environment.
"""

import os
import signal
import sys
from typing import Any

from watcher.cli.app import call
from watcher.store import reindex_runs


def arm(nth: int) -> None:
    """Die inside the ``nth`` transaction, with everything written and nothing committed."""
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
