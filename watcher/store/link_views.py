"""Who looked at payment links: numbers by day, and nobody by name.

A visitor is a HMAC by a random key of the day. Keys and hashes are deleted when their day is over; the
numbers stay.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, select

from notifier.ids import Entropy
from notifier.statements import upsert
from watcher.domain.day_counts import day_of
from watcher.store.link_schema import payment_link_view, visitor, visitor_key

#: Visitors of one link on one day: those beyond are not counted, so that nobody fills the table.
MAX_VIEWS_PER_DAY = 100_000

_KEY_BYTES = 32


def days(connection: Connection, link_id: str) -> dict[int, int]:
    """Return how many people looked at a link, by day."""
    query = select(payment_link_view).where(payment_link_view.c.link_id == link_id)
    return {row.day: row.views for row in connection.execute(query)}


def key_of(connection: Connection, day: int, *, entropy: Entropy = os.urandom) -> bytes:
    """Return the key of a day, made at its first use."""
    made = upsert(connection, visitor_key).values(day=day, key=entropy(_KEY_BYTES)).on_conflict_do_nothing()
    connection.execute(made)
    return bytes(connection.execute(select(visitor_key.c.key).where(visitor_key.c.day == day)).scalar_one())


def record(connection: Connection, day: int, seen: Iterable[tuple[str, bytes]]) -> None:
    """Count visitors, each a link and a hash; those who were there on this day count for nothing more."""
    views: Counter[str] = Counter()
    seen = sorted(seen)
    full = _full(connection, day, {link_id for link_id, _ in seen})
    for link_id, digest in seen:
        if link_id in full:
            continue
        add = upsert(connection, visitor).values(day=day, hash=digest).on_conflict_do_nothing()
        views[link_id] += len(connection.execute(add.returning(visitor.c.hash)).all())
    table = payment_link_view
    for link_id, number in sorted(views.items()):
        if number:
            statement = upsert(connection, table).values(link_id=link_id, day=day, views=number)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[table.c.link_id, table.c.day], set_={"views": table.c.views + number}
                )
            )


def _full(connection: Connection, day: int, links: Iterable[str]) -> frozenset[str]:
    """Return those of the links that have had as many visitors on a day as are counted."""
    table = payment_link_view
    query = select(table.c.link_id).where(
        table.c.link_id.in_(sorted(links)), table.c.day == day, table.c.views >= MAX_VIEWS_PER_DAY
    )
    return frozenset(connection.execute(query).scalars())


def forget(connection: Connection, *, before: int, limit: int = 5_000) -> int:
    """Delete the keys of the days before one, and up to ``limit`` hashes of visitors; return how many."""
    connection.execute(delete(visitor_key).where(visitor_key.c.day < before))
    old = select(visitor.c.day, visitor.c.hash).where(visitor.c.day < before).order_by(visitor.c.day)
    rows = connection.execute(old.limit(limit)).all()
    for day in sorted({row.day for row in rows}):
        hashes = [row.hash for row in rows if row.day == day]
        for start in range(0, len(hashes), 500):
            batch = hashes[start : start + 500]
            connection.execute(delete(visitor).where(visitor.c.day == day, visitor.c.hash.in_(batch)))
    return len(rows)


def record_uses(connection: Connection, seen: Mapping[str, float]) -> None:
    """Count visitors, each ``link hash``, with the time at which they looked."""
    by_day: defaultdict[int, list[tuple[str, bytes]]] = defaultdict(list)
    for visitor_of_link, at in seen.items():
        link, _, digest = visitor_of_link.partition(" ")
        by_day[day_of(at)].append((link, bytes.fromhex(digest)))
    for day, visitors in sorted(by_day.items()):
        record(connection, day, visitors)
