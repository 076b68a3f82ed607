"""The store: every table and every SQL statement of the watcher."""
