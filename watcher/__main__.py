"""Entry point of ``python -m watcher``, the same as ``sbtc-watcher``."""

from watcher.cli import main

if __name__ == "__main__":
    main()
