"""The counters of days in the database, changed in the transaction that changes the intents."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, func, select, update

from notifier.records import RecordColumns
from notifier.statements import chunks, upsert
from watcher.domain.day_counts import (
    MERCHANT,
    PAYMENT_LINK,
    CountedIntent,
    DayCount,
    DayKey,
    Owner,
    changes,
)
from watcher.store.statistics_schema import day_count, payment_link_day

_COUNTERS = RecordColumns(DayCount)


class _Counters:
    """The statements of one table of counters; ``key`` is the column of whose they are."""

    def __init__(self, table: Table, key: Column[Any], owner: Owner) -> None:
        self.table = table
        self.key = key
        self.owner = owner
        where = (
            key == bindparam("the_owner"),
            table.c.day == bindparam("the_day"),
            table.c.asset == bindparam("the_asset"),
        )
        self.locked = select(table).where(*where).with_for_update()
        values: dict[str, Any] = {name: bindparam(name) for name in DayCount.__dataclass_fields__}
        self.update = update(table).where(*where).values(values)

    def record(
        self, connection: Connection, intents: Iterable[tuple[CountedIntent | None, CountedIntent]]
    ) -> None:
        """Change the counters by intents before and after a change."""
        changed = changes(intents, self.owner)
        if not changed:
            return
        zeros = [
            {self.key.name: key.owner, "day": key.day, "asset": key.asset, **asdict(DayCount())}
            for key in changed
        ]
        connection.execute(upsert(connection, self.table).on_conflict_do_nothing(), zeros)
        for key, change in changed.items():
            where = {"the_owner": key.owner, "the_day": key.day, "the_asset": key.asset}
            # Added up here, not in SQL: SQLite has no numbers of this size.
            counted = _COUNTERS.read(connection.execute(self.locked, where).mappings().one()) + change
            # A counter that was wrong must not keep an intent from being settled.
            values = {name: max(0, number) for name, number in asdict(counted).items()}
            connection.execute(self.update, where | values)


_OF_MERCHANTS = _Counters(day_count, day_count.c.merchant_id, MERCHANT)
_OF_LINKS = _Counters(payment_link_day, payment_link_day.c.link_id, PAYMENT_LINK)

#: The counters that SQL may sum.
_WHOLE = [payment_link_day.c[name] for name in DayCount.__dataclass_fields__ if name != "received"]


def record(connection: Connection, intents: Sequence[tuple[CountedIntent | None, CountedIntent]]) -> None:
    """Change the counters by intents before (None: new) and after a change."""
    _OF_MERCHANTS.record(connection, intents)
    _OF_LINKS.record(connection, intents)


def counted(row: Mapping[Any, Any], **changed: Any) -> CountedIntent:
    """Return the counted part of an intent's row, with some of its columns changed."""
    return CountedIntent(
        merchant=row["merchant_id"],
        asset=row["asset"],
        created_at=row["created_at"],
        status=changed.get("status", row["status"]),
        received=changed.get("received", row["received"]),
        succeeded_at=changed.get("succeeded_at", row["succeeded_at"]),
        payment_link=row["payment_link"],
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


def of_link(connection: Connection, link_id: str) -> dict[tuple[int, str], DayCount]:
    """Return the counters of each day and asset of a payment link, the oldest first."""
    table = payment_link_day
    query = select(table).where(table.c.link_id == link_id).order_by(table.c.day, table.c.asset)
    return {(row["day"], row["asset"]): _COUNTERS.read(row) for row in connection.execute(query).mappings()}


def totals_of_links(connection: Connection, ids: Collection[str]) -> dict[str, DayCount]:
    """Return the sum of all days and assets of payment links, without what was received."""
    table = payment_link_day
    found = dict.fromkeys(ids, DayCount())
    for batch in chunks(sorted(found)):
        sums = [func.sum(column).label(column.name) for column in _WHOLE]
        query = select(table.c.link_id, *sums).where(table.c.link_id.in_(batch)).group_by(table.c.link_id)
        for row in connection.execute(query).mappings():
            found[row["link_id"]] = DayCount(**{column.name: int(row[column.name]) for column in _WHOLE})
    return found


__all__ = ["CountedIntent", "DayKey", "counted", "load", "of_link", "record", "totals_of_links"]
