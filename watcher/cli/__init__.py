"""The command line. One module per noun; nothing heavy is imported before the command that needs it runs."""

from watcher.cli.app import main

__all__ = ["main"]
