"""The daemon: intents, settlement, storage, service and command line. The only package that knows the others."""

__version__ = "0.1.0"
