"""How the daemon stands, as one document: what ``status``, ``/v1/status`` and readiness are made from.
Read-only.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, func, select

from notifier import bulk, outbox
from notifier.events import rfc3339
from notifier.schema import (
    DeliveryStatus,
    DisabledReason,
    EndpointStatus,
    delivery,
    endpoint,
    is_dead,
    is_open,
    is_pending,
    is_waiting,
)
from notifier.statements import chunks
from watcher import __version__
from watcher.config.settings import Settings
from watcher.domain.model import Status
from watcher.indexer.leader import current_holder
from watcher.services.status_reasons import (
    Code,
    Reason,
    clock_skew,
    deprecated_routes,
    no_follower,
    no_notifier,
)
from watcher.store import chain_state, due_intents, reindex_runs, revisions, unknown_words
from watcher.store.chain_state import Cursor
from watcher.store.database import Database, size
from watcher.store.filters import needs_attention
from watcher.store.heartbeats import FOLLOWER, NOTIFIER, live_roles
from watcher.store.schema import intent, status_count, transfer

_DAY = 86400

#: What only an operator can mend.
OPERATORS: Final = frozenset({Code.NO_FOLLOWER, Code.NO_NOTIFIER, Code.NOT_WRITABLE, Code.CLOCK_SKEW})

DEAD_HINT: Final = "retry or dismiss what `sbtc-watcher deliveries list --status dead` shows"

#: What is worth knowing, while nothing is wrong.
_NOTES: Final = frozenset({Code.DEPRECATED_ROUTES})

#: So many disabled endpoints are named.
_MAX_IDS_SHOWN = 5

#: How a merchant (False) and an operator (True) enable an endpoint.
_HOW = {False: "enable it", True: "sbtc-watcher endpoints enable {}"}

#: What a merchant sees of a source.
_SOURCE = ("url", "state", "version", "tip_height", "latency_ms", "errors", "note")


def status(database: Database, settings: Settings, *, now: float) -> dict[str, Any]:
    """Return the status document of ``interface``, see :func:`document`."""
    with database.read() as connection:
        return document(connection, settings, now=now)


def document(
    connection: Connection,
    settings: Settings,
    *,
    now: float,
    merchant: str | None = None,
    known: Sequence[Reason] = (),
) -> dict[str, Any]:
    """Return the status document of ``interface``.

    ``state`` is ``starting`` until the first poll of the chain is done, ``halted`` while a person has to
    decide, ``degraded`` while one of ``reasons`` holds, else ``ok``.

    ``lag`` says where time is lost: ``chain_seconds`` since the newest block that a source reported was made
    (the chain stands still, or sources lag behind it), ``api_seconds`` since the last finished poll of the
    sources, ``our_seconds`` of chain time and ``blocks`` between that newest block and the newest applied
    one; ``blocks`` is None when no source has said anything for a minute.

    ``follower`` says who follows the chain on a shared database: host and process id, how often that changed,
    and how long it may be silent before a standby takes over (0: there is no follower).

    ``settle_backlog`` counts intents that are due and not settled yet: of very many they are settled little
    by little.

    ``set_aside`` counts intents that could not be settled, by a mistake in this program: they are tried again
    later.

    ``known`` are reasons that the calling process knows and the database does not, such as that it takes no
    writes.

    ``merchant``: a document for this merchant: counts of their own intents and deliveries, and nothing of the
    operator's machines (URLs of sources, errors, hosts, the database).
    """
    revision = revisions.current(connection)
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
        "settle_backlog": 0,
        "set_aside": 0,
        "oldest_pending": None,
        "outbox": {
            "pending": 0,
            "oldest_seconds": None,
            "dead": 0,
            "held": 0,
            "failing_endpoints": [],
            "bulk_changes": [],
        },
        "reindex": None,
        "follower": None,
        "database": {"url": None, "revision": revision, "bytes": None},
        "halted": None,
    }
    if merchant is None:
        url = connection.engine.url.render_as_string(hide_password=True)
        document["database"] |= {"url": url, "bytes": size(connection)}
    if revision is None:
        return document
    cursor = chain_state.load_cursor(connection)
    box = _count(connection, document, now=now, merchant=merchant)
    if merchant is None:
        _machines(connection, document, now=now)
    if cursor is not None:
        document["settle_backlog"] = due_intents.count_due(connection, cursor.clock, merchant=merchant)
        document["set_aside"] = due_intents.count_set_aside(connection, merchant=merchant)
        _place(document, cursor, now=now)
        if merchant is not None:
            _hide(document)
    roles = live_roles(connection, now=now)
    due = 0 if NOTIFIER in roles else outbox.count_due(connection, now=now)
    skew = cursor.clock_skew if cursor is not None else None
    reasons = [*known, *_reasons(document, skew, settings, box, roles, due, how=_HOW[merchant is None])]
    if merchant is None and (words := unknown_words.load(connection, now=now)):
        reasons.append(_unknown(words))
    if merchant is None and (ending := deprecated_routes(document["sources"])) is not None:
        reasons.append(ending)
    if merchant is not None:
        reasons = [_for_merchants(reason) for reason in reasons]
    document["reasons"] = [reason.document() for reason in reasons]
    if cursor is not None:
        document["state"] = _state(document, cursor)
    return document


def count_intents(connection: Connection, *, merchant: str | None = None) -> dict[str, int]:
    """Return how many intents have each status that any ever had; kept, not counted. ``merchant``: of this
    one only.
    """
    query = select(status_count.c.status, func.sum(status_count.c.count))
    if merchant is not None:
        query = query.where(status_count.c.merchant_id == merchant)
    rows = connection.execute(query.group_by(status_count.c.status))
    return {status: int(number) for status, number in rows}


def count_attention(connection: Connection, *, merchant: str | None = None) -> int:
    """Return how many intents call for a person, see :func:`watcher.store.filters.needs_attention`."""
    query = select(func.count()).select_from(intent)
    if merchant is not None:
        query = query.where(intent.c.merchant_id == merchant)
    return connection.execute(query.where(needs_attention(connection))).scalar_one()


def count_unmatched(connection: Connection, *, merchant: str | None = None) -> int:
    """Return how many transfers in the canonical chain belong to no intent."""
    query = select(func.count()).select_from(transfer)
    if merchant is not None:
        query = query.where(transfer.c.merchant_id == merchant)
    return connection.execute(query.where(transfer.c.intent_id.is_(None), transfer.c.canonical)).scalar_one()


def _count(
    connection: Connection, document: dict[str, Any], *, now: float, merchant: str | None
) -> outbox.Stats:
    document["intents"] |= count_intents(connection, merchant=merchant)
    document["reorgs_24h"] = chain_state.count_reorgs(connection, since=int(now) - _DAY)
    document["attention"] = count_attention(connection, merchant=merchant)
    document["unmatched"] = count_unmatched(connection, merchant=merchant)
    pending = select(intent.c.created_at).where(intent.c.status == Status.PENDING)
    if merchant is not None:
        pending = pending.where(intent.c.merchant_id == merchant)
    oldest = connection.execute(pending.order_by(intent.c.id).limit(1)).scalar_one_or_none()
    document["oldest_pending"] = None if oldest is None else rfc3339(oldest)
    box = outbox.stats(connection, now=now) if merchant is None else _outbox_of(connection, merchant, now=now)
    document["outbox"] = {
        "pending": box.pending,
        "oldest_seconds": box.oldest_seconds,
        "dead": box.dead,
        "held": box.held,
        "failing_endpoints": list(box.failing_endpoints),
        "bulk_changes": [
            {"endpoint": change.endpoint, "kind": change.kind.value, "done": change.done}
            for change in bulk.running_changes(connection, merchant=merchant)
        ],
    }
    return box


def _outbox_of(connection: Connection, merchant: str, *, now: float) -> outbox.Stats:
    """Return a merchant's part of the outbox in numbers; reads only their endpoints and open deliveries."""
    shown = (endpoint.c.merchant == merchant, endpoint.c.status != EndpointStatus.REMOVED)
    endpoints = connection.execute(select(endpoint).where(*shown).order_by(endpoint.c.id)).all()
    counts: dict[str, int] = {}
    dead = 0
    oldest: float | None = None
    for batch in chunks([row.id for row in endpoints]):
        counted = (
            select(delivery.c.status, func.count().label("deliveries"))
            .where(is_open, delivery.c.endpoint.in_(batch), is_waiting)
            .group_by(delivery.c.status)
        )
        for row in connection.execute(counted):
            counts[row.status] = counts.get(row.status, 0) + row.deliveries
        given_up = select(func.count()).select_from(delivery).where(is_dead, delivery.c.endpoint.in_(batch))
        dead += connection.execute(given_up).scalar_one()
        first = select(func.min(delivery.c.created_at)).where(is_pending, delivery.c.endpoint.in_(batch))
        since = connection.execute(first).scalar_one()
        if since is not None:
            oldest = since if oldest is None else min(oldest, since)
    return outbox.Stats(
        pending=counts.get(DeliveryStatus.PENDING, 0),
        held=counts.get(DeliveryStatus.HELD, 0),
        dead=dead,
        oldest_seconds=None if oldest is None else max(0.0, now - oldest),
        failing_endpoints=tuple(
            row.id for row in endpoints if row.status == EndpointStatus.ENABLED and row.failed > 0
        ),
        disabled_endpoints=tuple(
            (row.id, row.disabled_reason)
            for row in endpoints
            if row.status == EndpointStatus.DISABLED and row.disabled_reason != DisabledReason.OPERATOR
        ),
    )


def _machines(connection: Connection, document: dict[str, Any], *, now: float) -> None:
    """Add what only operators see."""
    document["reindex"] = reindex_runs.latest(connection, now=now)
    leader = None if connection.dialect.name == "sqlite" else current_holder(connection)
    if leader is not None:
        document["follower"] = {
            "holder": leader.holder,
            "epoch": leader.epoch,
            "remaining_seconds": leader.remaining,
        }


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
        "blocks": cursor.lag_blocks,
    }
    document["sources"] = cursor.sources or []
    if cursor.halted is not None:
        document["halted"] = cursor.halted | {"since": rfc3339(cursor.halted["since"])}


def _hide(document: dict[str, Any]) -> None:
    """Take out what is not a merchant's to know: where sources are (with their keys, maybe), and what they
    said.
    """
    document["sources"] = [
        {name: source.get(name) for name in _SOURCE} | {"url": f"#{number}", "note": None}
        for number, source in enumerate(document["sources"], start=1)
    ]
    if document["halted"] is not None:
        document["halted"] |= {
            "message": "the daemon stands still: what the chain's sources say needs an operator's decision",
            "hint": "intents keep their status meanwhile, and catch up afterwards",
        }


def _for_merchants(reason: Reason) -> Reason:
    """Return a reason for a merchant: without the operator's hints, the database's errors (hosts, files,
    users) and counts of others.
    """
    if reason.code is Code.NO_NOTIFIER:
        return replace(reason, message="webhooks are due, and no living process delivers", hint="")
    if reason.code is Code.NOT_WRITABLE:
        return replace(reason, message="the database takes no writes", hint="")
    return replace(reason, hint="") if reason.code in OPERATORS else reason


def _reasons(
    document: dict[str, Any],
    skew: float | None,
    settings: Settings,
    box: outbox.Stats,
    roles: Collection[str],
    due: int,
    *,
    how: str,
) -> list[Reason]:
    """Return what is wrong short of a halt.

    ``skew``: seconds by which the follower's clock is ahead of the sources', if known. ``roles`` are those
    that some living process runs, ``due`` counts the webhooks that wait for a notifier.
    """
    reasons = []
    if document["halted"] is not None:
        reasons.append(Reason(Code.HALTED, document["halted"]["message"], document["halted"]["hint"]))
    if FOLLOWER not in roles:
        reasons.append(no_follower())
    if due and NOTIFIER not in roles:
        reasons.append(no_notifier(due))
    if skew is not None and (wrong := clock_skew(skew)) is not None:
        reasons.append(wrong)
    reasons += [
        Reason(
            Code.SOURCE_FAILING,
            f"source {source.get('url')} is {source.get('state')}",
            source.get("note") or "",
        )
        for source in document["sources"]
        if source.get("state") != "ok"
    ]
    lag = document["lag"]
    limit = settings.ready_max_lag
    if lag["our_seconds"] is not None and lag["our_seconds"] > limit:
        text = f"the newest applied block is {lag['our_seconds']:.0f} s older than the tip"
        reasons.append(
            Reason(Code.LAGGING, text, "it catches up by itself; if it does not, its log says what holds it")
        )
    if lag["api_seconds"] is not None and lag["api_seconds"] > limit:
        text = f"no process has polled the chain for {lag['api_seconds']:.0f} s; is the daemon running?"
        reasons.append(Reason(Code.LAGGING, text))
    if box.failing_endpoints:
        number = len(box.failing_endpoints)
        text = "1 webhook endpoint fails" if number == 1 else f"{number} webhook endpoints fail"
        reasons.append(
            Reason(Code.ENDPOINTS_FAILING, text, "each is tried again; `deliveries list` says why")
        )
    reasons += [
        Reason(
            Code.ENDPOINT_DISABLED,
            f"endpoint {id_} was disabled ({why}), its webhooks are held",
            f"once mended: {how.format(id_)}",
        )
        for id_, why in box.disabled_endpoints[:_MAX_IDS_SHOWN]
    ]
    if (more := len(box.disabled_endpoints) - _MAX_IDS_SHOWN) > 0:
        text = (
            "1 more webhook endpoint was disabled"
            if more == 1
            else f"{more} more webhook endpoints were disabled"
        )
        reasons.append(Reason(Code.ENDPOINT_DISABLED, text))
    if box.dead:
        text = "1 webhook delivery is dead" if box.dead == 1 else f"{box.dead:,} webhook deliveries are dead"
        reasons.append(Reason(Code.DELIVERIES_DEAD, text, DEAD_HINT))
    return reasons


def _unknown(words: Sequence[unknown_words.Seen]) -> Reason:
    named = ", ".join(f"{seen.kind} {seen.word!r}" for seen in words[:_MAX_IDS_SHOWN])
    more = f" and {len(words) - _MAX_IDS_SHOWN} more" if len(words) > _MAX_IDS_SHOWN else ""
    lowest = min(seen.first_height for seen in words)
    return Reason(
        Code.UNKNOWN_WORDS,
        f"blocks were applied without what this version does not know: {named}{more}",
        f"update sbtc-watcher, then: sbtc-watcher reindex --from {lowest}",
    )


def _state(document: dict[str, Any], cursor: Cursor) -> str:
    if cursor.halted is not None:
        return "halted"
    if cursor.looked_at is None:
        return "starting"
    return "degraded" if any(reason["code"] not in _NOTES for reason in document["reasons"]) else "ok"
