"""Merchants and their API keys. Every function works on an open connection.

Defaults that are None mean *as the settings say*. A recipient is never unwatched: money to a former one is stored.
"""

import os
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from notifier.ids import Entropy, new_id
from watcher import api_keys, fields, records
from watcher.blocks import load_cursor
from watcher.errors import NotFound, Refused
from watcher.fields import Problems
from watcher.intents import LatePolicy
from watcher.settings import Settings
from watcher.tables import merchant


class _Keep(Enum):
    KEEP = "keep"


#: Leaves a field of :func:`change` as it is; None sets it back to the settings' default.
KEEP: Final = _Keep.KEEP


def add(
    connection: Connection,
    settings: Settings,
    *,
    name: object,
    recipient: object,
    level: object = None,
    ttl: object = None,
    tolerance: object = None,
    late_policy: object = None,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Mapping[str, Any], str]:
    """Store a merchant and watch his recipient; return his row and his API key, which is not kept.

    Raises :class:`Refused` (``validation``, ``recipient_in_use``).
    """
    given = {"level": level, "ttl": ttl, "tolerance": tolerance, "late_policy": late_policy}
    values = _read(settings, {"name": name, "recipient": recipient, **given})
    load_cursor(connection, lock=True)  # nobody dedicates the recipient meanwhile
    check_not_dedicated(connection, values["recipient"])
    merchant_id = new_id("mer_", now, entropy)
    connection.execute(
        insert(merchant).values(
            id=merchant_id, status="active", created_at=int(now), updated_at=int(now), **values
        )
    )
    records.watch(connection, values["recipient"], merchant_id)
    _, key = api_keys.add(connection, settings.network, merchant_id, now=now, entropy=entropy)
    return find(connection, merchant_id), key


def find(connection: Connection, merchant_id: str, *, lock: bool = False) -> Mapping[str, Any]:
    """Return a merchant's row; ``lock`` holds it until the transaction ends. Raises :class:`NotFound`."""
    query = select(merchant).where(merchant.c.id == merchant_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no merchant {merchant_id}", hint="sbtc-watcher merchants list shows them")
    return {str(key): value for key, value in row.items()}


def page(
    connection: Connection, *, limit: int, cursor: str | None = None
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return up to ``limit`` merchants below the id ``cursor``, newest first, and the next page's cursor."""
    query = select(merchant).order_by(merchant.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(merchant.c.id < cursor)
    rows = [{str(key): value for key, value in row.items()} for row in connection.execute(query).mappings()]
    return list(rows[:limit]), rows[limit - 1]["id"] if len(rows) > limit else None


def change(
    connection: Connection,
    settings: Settings,
    merchant_id: str,
    *,
    name: object = KEEP,
    recipient: object = KEEP,
    level: object = KEEP,
    ttl: object = KEEP,
    tolerance: object = KEEP,
    late_policy: object = KEEP,
    now: float,
) -> Mapping[str, Any]:
    """Change what is not ``KEEP`` and return the row; intents keep what they were created with.

    Raises :class:`NotFound`, :class:`Refused` (``validation``, ``recipient_in_use``).
    """
    if recipient is not KEEP:
        load_cursor(connection, lock=True)  # first, as whoever creates an intent does
    row = find(connection, merchant_id, lock=True)
    given = {
        "name": name,
        "recipient": recipient,
        "level": level,
        "ttl": ttl,
        "tolerance": tolerance,
        "late_policy": late_policy,
    }
    values = _read(settings, {field: value for field, value in given.items() if value is not KEEP})
    if "recipient" in values and values["recipient"] != row["recipient"]:
        check_not_dedicated(connection, values["recipient"])
        records.watch(connection, values["recipient"], merchant_id)
    connection.execute(
        update(merchant).where(merchant.c.id == merchant_id).values(updated_at=int(now), **values)
    )
    return find(connection, merchant_id)


def disable(connection: Connection, merchant_id: str, now: float) -> Mapping[str, Any]:
    """Let a merchant create no more intents and revoke his keys; his open intents go on. Returns the row."""
    find(connection, merchant_id, lock=True)
    connection.execute(
        update(merchant).where(merchant.c.id == merchant_id).values(status="disabled", updated_at=int(now))
    )
    api_keys.retire(connection, merchant_id, now=now)
    return find(connection, merchant_id)


def rotate_key(
    connection: Connection,
    settings: Settings,
    merchant_id: str,
    now: float,
    overlap: float = 0,
    entropy: Entropy = os.urandom,
) -> str:
    """Return a merchant's fresh key; his others end at once, or after ``overlap`` seconds.

    Raises :class:`NotFound`, :class:`Refused`.
    """
    _, key = api_keys.rotate(
        connection, settings.network, merchant_id, overlap=overlap, now=now, entropy=entropy
    )
    return key


def check_not_dedicated(connection: Connection, principal: str) -> None:
    """Raise :class:`Refused` (``recipient_in_use``) while an intent has this recipient to itself."""
    cursor = load_cursor(connection)
    time = cursor.clock.time if cursor is not None else 0
    for other in records.dedicated_intents(connection, [principal]).get(principal, ()):
        if other.monitored_until >= time:
            raise recipient_in_use(principal, f"is dedicated to {other.id}")


def recipient_in_use(principal: str, why: str) -> Refused:
    """Return the refusal of a recipient that others use, ``why`` being the rest of the sentence."""
    message = f"{principal} {why}; use an address of its own"
    return Refused("recipient_in_use", errors=[{"field": "recipient", "message": message}])


def _read(settings: Settings, given: Mapping[str, object]) -> dict[str, Any]:
    """Check the given fields and return them as the table holds them."""
    problems = Problems()
    network = settings.network_facts
    values: dict[str, Any] = {}
    for field, value in given.items():
        if field == "name":
            values[field] = problems.read(field, fields.read_text, value, "")
        elif field == "recipient":
            values[field] = problems.read(
                field, lambda text: str(network.parse_principal(str(text))), value, ""
            )
        elif value is None:
            values[field] = None
        elif field == "level":
            values[field] = problems.read(field, lambda text: _level(settings, text), value, None)
        elif field == "ttl":
            values[field] = problems.read(field, fields.read_ttl, value, 0)
        elif field == "tolerance":
            values[field] = problems.read(field, lambda n: fields.read_amount(n, least=0), value, 0)
        else:
            values[field] = problems.read(field, fields.read_choice(LatePolicy), value, LatePolicy.HOLD)
    problems.check()
    return values


def _level(settings: Settings, value: object) -> str | dict[str, int]:
    level = settings.parse_level(value)
    return level.name or {"stacks": level.depth.stacks, "bitcoin": level.depth.bitcoin}
