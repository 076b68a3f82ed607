"""sbtc-watcher: the daemon, its HTTP API and the command line; imports all the other packages."""

__version__ = "0.1.0"
