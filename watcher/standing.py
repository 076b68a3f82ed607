"""How the daemon stands, as one document: what ``status``, ``/v1/status`` and readiness are made from. Read-only."""

from typing import Any

from sqlalchemy import Connection, func, select

from notifier import outbox
from notifier.events import rfc3339
from watcher import __version__, blocks, scan
from watcher.blocks import Cursor
from watcher.conditions import has_flag
from watcher.database import Database
from watcher.intents import Flag, Status
from watcher.lease import holding
from watcher.settings import Settings
from watcher.tables import intent, status_count, transfer

#: Flags that call for a person, until he marks the intent.
ATTENTION = (Flag.LATE, Flag.SURPLUS, Flag.REORGED)

_DAY = 86400

#: So many disabled endpoints are named.
_SHOWN = 5


def status(database: Database, settings: Settings, *, now: float) -> dict[str, Any]:
    """Return the status document of ``interface``.

    ``state`` is ``starting`` until the first look at the chain is done, ``halted`` while a person has to decide,
    ``degraded`` while one of ``reasons`` holds, else ``ok``.

    ``lag`` says where time is lost: ``chain_seconds`` since the newest block that a source told of was made (the chain
    stands still, or sources lag behind it), ``api_seconds`` since the last finished look at the sources, ``our_seconds``
    of chain time and ``blocks`` between that newest block and the newest applied one.

    ``follower`` says who follows the chain on a shared database: host and process id, how often that changed, and how
    long he may be silent before a standby takes over (0: nobody follows).
    """
    revision = database.revision()
    document: dict[str, Any] = {
        "state": "starting",
        "reasons": [],
        "network": settings.network.value,
        "version": __version__,
        "cursor": None,
        "tip": None,
        "lag": {"chain_seconds": None, "api_seconds": None, "our_seconds": None, "blocks": None},
        "sources": [],
        "reorgs_24h": 0,
        "intents": {name.value: 0 for name in Status},
        "attention": 0,
        "unmatched": 0,
        "oldest_pending": None,
        "outbox": {"pending": 0, "oldest_seconds": None, "dead": 0, "held": 0, "failing_endpoints": []},
        "reindex": None,
        "follower": None,
        "database": {"url": database.safe_url, "revision": revision, "bytes": database.size()},
        "halted": None,
    }
    if revision is None:
        return document
    with database.read() as connection:
        cursor = blocks.load_cursor(connection)
        box = _count(connection, document, now=now)
        leader = None if database.is_sqlite else holding(connection)
    if leader is not None:
        document["follower"] = {
            "holder": leader.holder,
            "epoch": leader.epoch,
            "remaining_seconds": leader.remaining,
        }
    if cursor is not None:
        _place(document, cursor, now=now)
        document["reasons"] = _reasons(document, settings, box)
        document["state"] = _state(document, cursor)
    return document


def _count(connection: Connection, document: dict[str, Any], *, now: float) -> outbox.Stats:
    for row in connection.execute(select(status_count)):
        document["intents"][row.status] = row.count
    document["reindex"] = scan.latest(connection, now=now)
    document["reorgs_24h"] = blocks.count_reorgs(connection, since=int(now) - _DAY)
    document["attention"] = count_attention(connection)
    document["unmatched"] = count_unmatched(connection)
    oldest = connection.execute(
        select(intent.c.created_at).where(intent.c.status == Status.PENDING).order_by(intent.c.id).limit(1)
    ).scalar_one_or_none()
    document["oldest_pending"] = None if oldest is None else rfc3339(oldest)
    box = outbox.stats(connection, now=now)
    document["outbox"] = {
        "pending": box.pending,
        "oldest_seconds": box.oldest_seconds,
        "dead": box.dead,
        "held": box.held,
        "failing_endpoints": list(box.failing_endpoints),
    }
    return box


def count_attention(connection: Connection) -> int:
    """Return how many intents call for a person: late, surplus or reorged money that nobody has judged by a mark."""
    query = select(func.count()).select_from(intent)
    return connection.execute(
        query.where(has_flag(connection, *ATTENTION), ~has_flag(connection, Flag.MANUAL))
    ).scalar_one()


def count_unmatched(connection: Connection) -> int:
    """Return how many transfers in the canonical chain belong to no intent."""
    query = select(func.count()).select_from(transfer)
    return connection.execute(query.where(transfer.c.intent_id.is_(None), transfer.c.canonical)).scalar_one()


def _place(document: dict[str, Any], cursor: Cursor, *, now: float) -> None:
    clock = cursor.clock
    document["network"] = cursor.network
    document["cursor"] = {
        "height": clock.height,
        "hash": clock.hash,
        "time": rfc3339(clock.time),
        "burn_block_height": clock.burn_height,
    }
    document["tip"] = {"height": cursor.tip_height, "age_seconds": max(0.0, now - cursor.tip_time)}
    document["lag"] = {
        "chain_seconds": max(0.0, now - cursor.tip_time),
        "api_seconds": max(0.0, now - cursor.looked_at) if cursor.looked_at is not None else None,
        "our_seconds": float(max(0, cursor.tip_time - clock.time)),
        "blocks": max(0, cursor.tip_height - clock.height),
    }
    document["sources"] = cursor.sources or []
    if cursor.halted is not None:
        document["halted"] = cursor.halted | {"since": rfc3339(cursor.halted["since"])}


def _reasons(document: dict[str, Any], settings: Settings, box: outbox.Stats) -> list[str]:
    """Return what is wrong short of a halt, one line each."""
    reasons = [
        f"source {source.get('url')} is {source.get('state')}"
        for source in document["sources"]
        if source.get("state") != "ok"
    ]
    lag = document["lag"]
    limit = settings.ready_max_lag
    if lag["our_seconds"] > limit:
        reasons.append(f"the newest applied block is {lag['our_seconds']:.0f} s older than the tip")
    if lag["api_seconds"] is not None and lag["api_seconds"] > limit:
        reasons.append(
            f"nobody has looked at the chain for {lag['api_seconds']:.0f} s; is the daemon running?"
        )
    if box.failing_endpoints:
        reasons.append(f"{len(box.failing_endpoints)} webhook endpoints fail")
    reasons += [
        f"endpoint {id_} was disabled ({why}), its webhooks are held; once mended: sbtc-watcher endpoints enable {id_}"
        for id_, why in box.disabled_endpoints[:_SHOWN]
    ]
    if len(box.disabled_endpoints) > _SHOWN:
        reasons.append(f"{len(box.disabled_endpoints) - _SHOWN} more webhook endpoints were disabled")
    if box.dead:
        reasons.append(f"{box.dead} webhook deliveries are dead")
    return reasons


def _state(document: dict[str, Any], cursor: Cursor) -> str:
    if cursor.halted is not None:
        return "halted"
    if cursor.looked_at is None:
        return "starting"
    return "degraded" if document["reasons"] else "ok"
