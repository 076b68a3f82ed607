"""The schema's history, applied by ``sbtc-watcher db upgrade`` and by ``run`` at start."""
