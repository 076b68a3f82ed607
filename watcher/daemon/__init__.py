"""The daemon's process: start, roles, periodic jobs, graceful shutdown."""
