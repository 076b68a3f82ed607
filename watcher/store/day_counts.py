"""The counters of days in the database, changed in the transaction that changes the intents."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from notifier.records import RecordColumns
from notifier.statements import upsert
from watcher.domain.day_counts import CountedIntent, DayCount, DayKey, changes
from watcher.store.statistics_schema import day_count

_COUNTERS = RecordColumns(DayCount)

_KEY = (
    day_count.c.merchant_id == bindparam("the_merchant"),
    day_count.c.day == bindparam("the_day"),
    day_count.c.asset == bindparam("the_asset"),
)
_LOCKED = select(day_count).where(*_KEY).with_for_update()
_UPDATE = (
    update(day_count).where(*_KEY).values({name: bindparam(name) for name in DayCount.__dataclass_fields__})
)


def record(connection: Connection, intents: Iterable[tuple[CountedIntent | None, CountedIntent]]) -> None:
    """Change the counters by intents before (None: new) and after a change."""
    changed = changes(intents)
    if not changed:
        return
    zeros = [
        {"merchant_id": key.merchant, "day": key.day, "asset": key.asset, **asdict(DayCount())}
        for key in changed
    ]
    connection.execute(upsert(connection, day_count).on_conflict_do_nothing(), zeros)
    for key, change in changed.items():
        where = {"the_merchant": key.merchant, "the_day": key.day, "the_asset": key.asset}
        # Added up here, not in SQL: SQLite has no numbers of this size.
        counted = _COUNTERS.read(connection.execute(_LOCKED, where).mappings().one()) + change
        # A counter that was wrong must not keep an intent from being settled.
        values = {name: max(0, number) for name, number in asdict(counted).items()}
        connection.execute(_UPDATE, where | values)


def counted(row: Mapping[Any, Any], **changed: Any) -> CountedIntent:
    """Return the counted part of an intent's row, with some of its columns changed."""
    return CountedIntent(
        merchant=row["merchant_id"],
        asset=row["asset"],
        created_at=row["created_at"],
        status=changed.get("status", row["status"]),
        received=changed.get("received", row["received"]),
        succeeded_at=changed.get("succeeded_at", row["succeeded_at"]),
    )


def load(
    connection: Connection, *, first_day: int, merchant: str | None = None
) -> dict[tuple[int, str], DayCount]:
    """Return the counters of each day and asset from ``first_day`` on. ``merchant``: of this one only."""
    query = select(day_count).where(day_count.c.day >= first_day)
    if merchant is not None:
        query = query.where(day_count.c.merchant_id == merchant)
    found: dict[tuple[int, str], DayCount] = {}
    for row in connection.execute(query).mappings():
        key = (row["day"], row["asset"])
        found[key] = found.get(key, DayCount()) + _COUNTERS.read(row)
    return found


__all__ = ["CountedIntent", "DayKey", "counted", "load", "record"]
