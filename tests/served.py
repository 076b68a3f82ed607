"""Run the real program with the role ``api`` in a process of its own, for tests that call the API."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADMIN = "the-operators-own-token"
ROOT = Path(__file__).parents[1]


@contextmanager
def serving(database_url: str, **settings: str) -> Iterator[str]:
    """Serve the API on a database while the block runs; yields its address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SBTC_WATCHER_")}
    given = {
        "database_url": database_url,
        "http_bind": "127.0.0.1:0",
        "admin_token": ADMIN,
        "http_rate_limit": "none",
        "log_format": "json",
    } | settings
    process = subprocess.Popen(
        [sys.executable, "-m", "watcher", "run", "--role", "api"],
        env=kept | {f"SBTC_WATCHER_{name.upper()}": value for name, value in given.items()},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    # Kill a process that prints nothing within this time, which also ends the reading below.
    patience = threading.Timer(30, process.kill)
    patience.start()
    try:
        port = None
        for line in process.stderr:
            entry = json.loads(line)
            if entry["event"] == "http.bound":
                port = entry["port"]
                break
        assert port is not None, "the server did not come up"
        patience.cancel()
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        assert process.wait(timeout=30) == 0
        drain.join(timeout=30)
    finally:
        patience.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()
