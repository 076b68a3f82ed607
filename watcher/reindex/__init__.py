"""Reindex, audit and repair: read old blocks again, compare them with the database, and correct it."""
