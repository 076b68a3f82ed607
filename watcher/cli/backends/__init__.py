"""Backends of the commands: this machine's database, or a server over HTTP."""
