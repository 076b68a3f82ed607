"""Intents in the database, to and from the domain's records. No decisions here."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    update,
)

from notifier.records import RecordColumns
from notifier.statements import chunks, one_of, upsert
from watcher.domain.day_counts import CountedIntent
from watcher.domain.decision import Decision
from watcher.domain.model import (
    ChainClock,
    Depth,
    Flag,
    Intent,
    IntentState,
    Status,
    TimelineEntry,
)
from watcher.store import day_counts
from watcher.store.intent_texts import add_texts
from watcher.store.schema import intent, label, recipient, status_count, transition

#: The frozen part of an intent, and the part that changes.
_INTENT_COLUMNS = RecordColumns(Intent, without=("merchant", "required"))
_STATE_COLUMNS = RecordColumns(IntentState, without=("flags", "anchor"))
_TIMELINE_COLUMNS = RecordColumns(TimelineEntry)

#: As the partial index spells it: SQLite cannot prove it of a bound value.
_IS_DEDICATED: ColumnElement[bool] = literal_column("intent.match = 'recipient'")

_INTENTS = select(intent).where(intent.c.id.in_(one_of("ids")))
_TIMELINES = select(transition).where(transition.c.intent_id.in_(one_of("ids"))).order_by(transition.c.n)
_BY_LABEL = (
    select(label.c.key, intent)
    .join(intent, intent.c.id == label.c.intent_id)
    .where(label.c.key.in_(one_of("keys")))
    .order_by(intent.c.id)
)
_DEDICATED = (
    select(intent).where(_IS_DEDICATED, intent.c.recipient.in_(one_of("principals"))).order_by(intent.c.id)
)
_BY_TOKEN = select(intent).where(intent.c.checkout_hash == bindparam("hash"))
_DECIDED = update(intent).where(intent.c.id == bindparam("intent"))


def load_rows(connection: Connection, ids: Collection[str]) -> dict[str, Mapping[Any, Any]]:
    """Return the rows of intents by id; unknown ids are left out."""
    found: dict[str, Mapping[Any, Any]] = {}
    for batch in chunks(sorted(ids)):
        for row in connection.execute(_INTENTS, {"ids": batch}).mappings():
            found[row["id"]] = row
    return found


def load_intents(connection: Connection, ids: Collection[str]) -> dict[str, Intent]:
    """Return intents by id; unknown ids are left out."""
    return {key: read_intent(row) for key, row in load_rows(connection, ids).items()}


def hash_token(token: str) -> bytes:
    """Return the hash by which the intent of a checkout's token is found."""
    return hashlib.sha256(token.encode()).digest()


def find_by_token(connection: Connection, token: str) -> Mapping[Any, Any] | None:
    """Return the row of the intent with this checkout token, None if there is none."""
    return connection.execute(_BY_TOKEN, {"hash": hash_token(token)}).mappings().one_or_none()


def add_intents(connection: Connection, added: Sequence[tuple[Intent, Iterable[str], str]]) -> None:
    """Store new intents, each with its label keys and the compared form of its reference.

    Their recipients are watched from now on.
    """
    connection.execute(insert(intent), [_fresh_row(record, key) for record, _, key in added])
    labels = [
        {"key": key, "intent_id": record.id} for record, keys, _ in added for key in dict.fromkeys(keys)
    ]
    connection.execute(insert(label), labels)
    add_texts(connection, [(record.id, record.merchant, record.metadata) for record, _, _ in added])
    for principal, merchant in dict.fromkeys((record.recipient, record.merchant) for record, _, _ in added):
        watch(connection, principal, merchant)
    for (merchant, status), number in Counter(
        (record.merchant, record.status) for record, _, _ in added
    ).items():
        _count(connection, merchant, status, number)
    day_counts.record(connection, [(None, _newly_counted(record)) for record, _, _ in added])


def watch(connection: Connection, principal: str, merchant: str) -> None:
    """Store all transfers to ``principal`` from now on; it is never unwatched."""
    connection.execute(
        upsert(connection, recipient)
        .values(principal=principal, merchant_id=merchant)
        .on_conflict_do_nothing()
    )


def save_decisions(
    connection: Connection, decided: Sequence[tuple[Intent, Decision]], clock: ChainClock, *, now: int
) -> None:
    """Write decisions on intents, at least one; status changes go into the counts."""
    connection.execute(_DECIDED, [_decided_row(record, decision, clock, now) for record, decision in decided])
    changes: Counter[tuple[str, Status]] = Counter()
    for record, decision in decided:
        if decision.status is not record.status:
            changes[record.merchant, record.status] -= 1
            changes[record.merchant, decision.status] += 1
    for (merchant, status), change in sorted(changes.items()):
        if change:
            _count(connection, merchant, status, change)


def add_transitions(
    connection: Connection, added: Iterable[tuple[str, int, Sequence[TimelineEntry]]]
) -> None:
    """Append to timelines: per intent its id, the number of its entries so far, and further ones."""
    rows = [
        {"intent_id": intent_id, "n": n} | _TIMELINE_COLUMNS.values(entry)
        for intent_id, known, entries in added
        for n, entry in enumerate(entries, start=known)
    ]
    if rows:
        connection.execute(insert(transition), rows)


def load_timelines(connection: Connection, ids: Collection[str]) -> dict[str, list[TimelineEntry]]:
    """Return each intent's timeline so far, oldest entry first."""
    found: dict[str, list[TimelineEntry]] = {key: [] for key in ids}
    for batch in chunks(sorted(found)):
        for row in connection.execute(_TIMELINES, {"ids": batch}).mappings():
            found[row["intent_id"]].append(_TIMELINE_COLUMNS.read(row))
    return found


def record_successes(connection: Connection, ids: Collection[str], *, at: int) -> None:
    """Store the chain time at which the newest success of these intents was decided."""
    for batch in chunks(sorted(ids)):
        connection.execute(update(intent).where(intent.c.id.in_(batch)).values(succeeded_at=at))


def oldest_open(connection: Connection) -> int | None:
    """Return when the oldest pending intent was created, None without any."""
    query = select(func.min(intent.c.created_at)).where(intent.c.status == Status.PENDING)
    oldest: int | None = connection.execute(query).scalar_one()
    return oldest


def align_with_chain(connection: Connection, *, ahead: int) -> None:
    """Correct intents that were created by the machine clock alone; the chain's is ``ahead``, seconds.

    Their terms are fixed and published. So a lifetime that began too early gets more grace, and a dedicated
    recipient whose intent began too late accepts older money.
    """
    pending = update(intent).where(intent.c.status == Status.PENDING)
    if ahead > 0:
        connection.execute(pending.values(inclusion_grace=intent.c.inclusion_grace + ahead))
    else:
        earlier = intent.c.not_before + ahead
        connection.execute(
            pending.where(_IS_DEDICATED).values(not_before=case((earlier > 0, earlier), else_=0))
        )


def intents_by_label(connection: Connection, keys: Collection[str]) -> dict[str, list[Intent]]:
    """Return the intents of each label key, oldest first."""
    found: dict[str, list[Intent]] = defaultdict(list)
    for batch in chunks(sorted(keys)):
        for row in connection.execute(_BY_LABEL, {"keys": batch}).mappings():
            found[row["key"]].append(read_intent(row))
    return found


def dedicated_intents(connection: Connection, principals: Collection[str]) -> dict[str, list[Intent]]:
    """Return the intents that each principal is dedicated to, oldest first."""
    found: dict[str, list[Intent]] = defaultdict(list)
    for batch in chunks(sorted(principals)):
        for row in connection.execute(_DEDICATED, {"principals": batch}).mappings():
            found[row["recipient"]].append(read_intent(row))
    return found


def watched(connection: Connection, principals: Collection[str]) -> dict[str, str]:
    """Return the merchant of each watched principal (the oldest, if several share it)."""
    found: dict[str, str] = {}
    for batch in chunks(sorted(principals)):
        query = (
            select(recipient).where(recipient.c.principal.in_(batch)).order_by(recipient.c.merchant_id.desc())
        )
        found |= {row.principal: row.merchant_id for row in connection.execute(query)}
    return found


def watched_principals(connection: Connection, *, limit: int) -> frozenset[str]:
    """Return up to ``limit`` watched principals."""
    query = select(recipient.c.principal).distinct().limit(limit)
    return frozenset(connection.execute(query).scalars())


def known_labels(connection: Connection, keys: Collection[str]) -> frozenset[str]:
    """Return those of the label keys that some intent has."""
    found: set[str] = set()
    for batch in chunks(sorted(keys)):
        found.update(connection.execute(select(label.c.key).where(label.c.key.in_(batch))).scalars())
    return frozenset(found)


def read_intent(row: Mapping[Any, Any]) -> Intent:
    """Convert a row of the intent table to the domain's record."""
    required = Depth(stacks=row["required_stacks"], bitcoin=row["required_bitcoin"])
    return _INTENT_COLUMNS.read(row, merchant=row["merchant_id"], required=required)


def read_state(row: Mapping[Any, Any]) -> IntentState:
    """Convert a row of the intent table to the state stored in it."""
    anchored = row["anchor_height"] is not None
    return _STATE_COLUMNS.read(
        row,
        flags=frozenset(Flag(flag) for flag in row["flags"]),
        anchor=(row["anchor_height"], row["anchor_burn_height"]) if anchored else None,
    )


def decided_columns(decision: Decision) -> dict[str, Any]:
    """Return the columns of an intent's row that a decision determines, by name."""
    return {
        "status": decision.status,
        "flags": sorted(decision.flags),
        "received": decision.received,
        "missing": decision.missing,
        "over": decision.over,
        "refunded": decision.refunded,
        "anchor_height": decision.anchor[0] if decision.anchor else None,
        "anchor_burn_height": decision.anchor[1] if decision.anchor else None,
        "wake_time": decision.next_check.time,
        "wake_height": decision.next_check.height,
        "wake_burn_height": decision.next_check.burn_height,
    }


def _decided_row(record: Intent, decision: Decision, clock: ChainClock, now: int) -> dict[str, Any]:
    return decided_columns(decision) | {
        "intent": record.id,
        "as_of_height": clock.height,
        "as_of_time": clock.time,
        "updated_at": now,
    }


def _fresh_row(record: Intent, reference_key: str) -> dict[str, Any]:
    return _INTENT_COLUMNS.values(record) | {
        "merchant_id": record.merchant,
        "reference_key": reference_key,
        "required_stacks": record.required.stacks,
        "required_bitcoin": record.required.bitcoin,
        "checkout_hash": hash_token(record.checkout_token) if record.checkout_token is not None else None,
        "flags": [],
        "in_flight": False,
        "received": 0,
        "missing": record.amount,
        "over": 0,
        "refunded": 0,
        "as_of_height": 0,
        "as_of_time": 0,
        "updated_at": record.created_at,
    }


def _newly_counted(record: Intent) -> CountedIntent:
    return CountedIntent(
        merchant=record.merchant,
        asset=record.asset,
        created_at=record.created_at,
        status=record.status,
        received=0,
        succeeded_at=None,
        payment_link=record.payment_link,
    )


def _count(connection: Connection, merchant: str, status: Status, change: int) -> None:
    statement = upsert(connection, status_count).values(merchant_id=merchant, status=status, count=change)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[status_count.c.merchant_id, status_count.c.status],
            set_={"count": status_count.c.count + change},
        )
    )
