"""Where a command's request goes: this machine's database, or a server."""
