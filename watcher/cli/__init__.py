"""The command line, one module per command group; commands import heavy modules only when they run."""

from watcher.cli.app import main

__all__ = ["main"]
