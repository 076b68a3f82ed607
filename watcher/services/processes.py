"""What operators see of the machines: processes and their roles, and the newest reorgs."""

from notifier.events import rfc3339
from watcher.services.context import Context, Document
from watcher.store import chain_state, heartbeats

#: Rows that are shown, at most.
MAX_PROCESSES = 50
MAX_REORGS = 10


class ProcessService(Context):
    """Processes on this database."""

    def processes(self) -> Document:
        """Return the processes that run, or ran within a day, each with its roles; the newest first."""
        found: dict[str, Document] = {}
        rows = heartbeats.processes(self.connection, now=self.now, limit=MAX_PROCESSES)
        for process, role, seen, lives in rows:
            host, _, number = process.rpartition(":")[0].rpartition(":")
            entry = found.setdefault(
                process,
                {"host": host, "pid": number, "roles": [], "lives": lives, "seen_at": rfc3339(seen)},
            )
            entry["roles"].append(role)
        return {"data": list(found.values()), "next_cursor": None}

    def reorgs(self) -> Document:
        """Return the newest reorgs, newest first."""
        rows = chain_state.latest_reorgs(self.connection, limit=MAX_REORGS)
        names = ("ancestor_height", "orphaned_blocks", "burn_depth", "old_tip", "new_tip")
        data = [{"at": rfc3339(row["at"])} | {name: row[name] for name in names} for row in rows]
        return {"data": data, "next_cursor": None}
