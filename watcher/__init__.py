"""sbtc-watcher: the daemon, its HTTP API and the command line; imports all the other packages."""

__version__ = "0.1.0"

#: How this program names itself to those that it asks and tells.
USER_AGENT = f"sbtc-watcher/{__version__}"
