"""Every table and every SQL statement of the watcher."""
