"""Intents in the database, to and from the domain's records. No decisions here."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from watcher.domain.decision import Decision
from watcher.domain.model import (
    ChainClock,
    Depth,
    Flag,
    Intent,
    IntentState,
    LatePolicy,
    Match,
    Status,
    TimelineEntry,
)
from watcher.store.database import chunks, one_of, upsert
from watcher.store.schema import intent, label, recipient, status_count, transition

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


def _by(column: ColumnElement[Any], moment: str) -> ColumnElement[bool]:
    """Return the condition that ``column`` is at most that parameter; each such column has its own index."""
    return and_(column.is_not(None), column <= bindparam(moment))


def _first(column: ColumnElement[Any], *where: ColumnElement[bool]) -> Select[Any]:
    return select(intent.c.id).where(*where).order_by(column).limit(bindparam("limit"))


#: When an intent is due.
_IS_DUE = (
    _by(intent.c.wake_height, "height"),
    _by(intent.c.wake_burn_height, "burn_height"),
    _by(intent.c.wake_time, "time"),
)
_DEEP = _first(intent.c.wake_height, _IS_DUE[0])
_DEEP_IN_BITCOIN = _first(intent.c.wake_burn_height, _IS_DUE[1])
#: Marked as due; no chain time is so low.
_MARKED = _first(intent.c.wake_time.desc(), intent.c.wake_time.is_not(None), intent.c.wake_time <= 0)
#: Marked as due, without delivery of what is so at a height: the value is minus that height.
_UNNOTIFIED = _first(intent.c.wake_time, intent.c.wake_time.is_not(None), intent.c.wake_time < 0)
_OVER = _first(intent.c.wake_time, _IS_DUE[2], intent.c.wake_time > 0)
#: Set aside: no chain is so high.
_NEVER = 2**62
_IS_SET_ASIDE = and_(intent.c.wake_burn_height.is_not(None), intent.c.wake_burn_height >= _NEVER)
_MARK_DUE = update(intent).where(intent.c.id.in_(one_of("ids"))).values(wake_time=0)
_MARK_UNNOTIFIED = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")), or_(intent.c.wake_time.is_(None), intent.c.wake_time != 0))
    .values(wake_time=bindparam("mark", type_=BigInteger))
)
_NOTIFY = update(intent).where(intent.c.id.in_(one_of("ids")), intent.c.wake_time < 0).values(wake_time=0)
_UNTIL = bindparam("until", type_=BigInteger)
_POSTPONE = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")), or_(intent.c.wake_time.is_(None), intent.c.wake_time > _UNTIL))
    .values(wake_time=_UNTIL)
)
_SET_ASIDE = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")))
    .values(wake_time=_UNTIL, wake_height=None, wake_burn_height=_NEVER)
)
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


def add_intents(connection: Connection, added: Sequence[tuple[Intent, Iterable[str], str]]) -> None:
    """Store new intents, each with its label keys and the compared form of its reference.

    Their recipients are watched from now on.
    """
    connection.execute(insert(intent), [_fresh_row(record, key) for record, _, key in added])
    labels = [
        {"key": key, "intent_id": record.id} for record, keys, _ in added for key in dict.fromkeys(keys)
    ]
    connection.execute(insert(label), labels)
    for principal, merchant in dict.fromkeys((record.recipient, record.merchant) for record, _, _ in added):
        watch(connection, principal, merchant)
    for (merchant, status), number in Counter(
        (record.merchant, record.status) for record, _, _ in added
    ).items():
        _count(connection, merchant, status, number)


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
        {"intent_id": intent_id, "n": n} | asdict(entry)
        for intent_id, known, entries in added
        for n, entry in enumerate(entries, start=known)
    ]
    if rows:
        connection.execute(insert(transition), rows)


def load_timelines(connection: Connection, ids: Collection[str]) -> dict[str, list[TimelineEntry]]:
    """Return each intent's timeline so far, oldest entry first."""
    found: dict[str, list[TimelineEntry]] = {key: [] for key in ids}
    for batch in chunks(sorted(found)):
        for row in connection.execute(_TIMELINES, {"ids": batch}):
            entry = TimelineEntry(
                at=row.at, status=Status(row.status), reason=row.reason, subject=row.subject
            )
            found[row.intent_id].append(entry)
    return found


def record_successes(connection: Connection, ids: Collection[str], *, at: int) -> None:
    """Store the chain time at which the newest success of these intents was decided."""
    for batch in chunks(sorted(ids)):
        connection.execute(update(intent).where(intent.c.id.in_(batch)).values(succeeded_at=at))


def mark_due(connection: Connection, ids: Sequence[str]) -> None:
    """Mark intents as due at any clock, until their next decision."""
    for batch in chunks(ids):
        connection.execute(_MARK_DUE, {"ids": batch})


def mark_unnotified(connection: Connection, ids: Sequence[str], *, height: int) -> None:
    """Mark intents as due, without delivery of what is so at our block of a height.

    Those that are already marked as due are left: what they wait for is to be delivered.
    """
    for batch in chunks(ids):
        connection.execute(_MARK_UNNOTIFIED, {"ids": batch, "mark": -height})


def notify(connection: Connection, ids: Sequence[str]) -> None:
    """Lift :func:`mark_unnotified`: everything about these intents is delivered again."""
    for batch in chunks(ids):
        connection.execute(_NOTIFY, {"ids": batch})


def unnotified(connection: Connection, *, limit: int) -> list[str]:
    """Return up to ``limit`` intents that wait to be settled without delivery."""
    return list(connection.execute(_UNNOTIFIED, {"limit": limit}).scalars())


def unnotified_heights(rows: Mapping[str, Mapping[Any, Any]]) -> dict[int, list[str]]:
    """Return the ids of the rows that :func:`mark_unnotified` has marked, by height."""
    found: dict[int, list[str]] = defaultdict(list)
    for key, row in rows.items():
        if row["wake_time"] is not None and row["wake_time"] < 0:
            found[-row["wake_time"]].append(key)
    return found


def postpone(connection: Connection, ids: Sequence[str], *, until: int) -> None:
    """Make intents due when the chain clock is at ``until``, unix seconds, unless they are due before."""
    for batch in chunks(ids):
        connection.execute(_POSTPONE, {"ids": batch, "until": until})


def set_aside(connection: Connection, ids: Sequence[str], *, until: int) -> None:
    """Make intents due no sooner than at ``until``, chain time, unless one of their facts changes."""
    for batch in chunks(ids):
        connection.execute(_SET_ASIDE, {"ids": batch, "until": until})


def due_intents(connection: Connection, clock: ChainClock, *, limit: int) -> list[str]:
    """Return up to ``limit`` intents whose decision may have changed, some of each kind.

    Half of them, if there are so many, are those whose depth may be reached; a quarter each are those marked
    as due and those whose time has passed. So no kind has to wait for many of another.
    """
    deep, in_bitcoin, marked, over = (
        connection.execute(query, _moment(clock) | {"limit": limit}).scalars().all()
        for query in (_DEEP, _DEEP_IN_BITCOIN, _MARKED, _OVER)
    )
    paid = list(dict.fromkeys(_interleave(deep, in_bitcoin)))
    return list(dict.fromkeys(_interleave(paid[::2], marked, paid[1::2], over)))[:limit]


def count_due(connection: Connection, clock: ChainClock, *, merchant: str | None = None) -> int:
    """Return how many intents wait to be settled at ``clock``; with ``merchant`` its own only."""
    due = select(intent.c.id).where(or_(*_IS_DUE))
    if merchant is not None:
        due = due.where(intent.c.merchant_id == merchant)
    return connection.execute(select(func.count()).select_from(due.subquery()), _moment(clock)).scalar_one()


def count_set_aside(connection: Connection, *, merchant: str | None = None) -> int:
    """Return how many intents are set aside because settling failed; with ``merchant`` its own only."""
    query = select(func.count()).select_from(intent).where(_IS_SET_ASIDE)
    if merchant is not None:
        query = query.where(intent.c.merchant_id == merchant)
    return connection.execute(query).scalar_one()


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


def read_intent(row: Mapping[Any, Any]) -> Intent:
    """Convert a row of the intent table to the domain's record."""
    return Intent(
        id=row["id"],
        merchant=row["merchant_id"],
        status=Status(row["status"]),
        amount=row["amount"],
        asset=row["asset"],
        asset_identifier=row["asset_identifier"],
        recipient=row["recipient"],
        payer=row["payer"],
        reference=row["reference"],
        reference_generated=row["reference_generated"],
        terms_hash=bytes(row["terms_hash"]),
        salt=bytes(row["salt"]),
        match=Match(row["match"]),
        tolerance=row["tolerance"],
        level=row["level"],
        required=Depth(stacks=row["required_stacks"], bitcoin=row["required_bitcoin"]),
        late_policy=LatePolicy(row["late_policy"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        not_before=row["not_before"],
        inclusion_grace=row["inclusion_grace"],
        monitoring=row["monitoring"],
        reorg_grace=row["reorg_grace"],
        metadata=row["metadata"],
    )


def read_state(row: Mapping[Any, Any]) -> IntentState:
    """Convert a row of the intent table to the state stored in it."""
    anchored = row["anchor_height"] is not None
    return IntentState(
        status=Status(row["status"]),
        flags=frozenset(Flag(flag) for flag in row["flags"]),
        received=row["received"],
        missing=row["missing"],
        over=row["over"],
        refunded=row["refunded"],
        anchor=(row["anchor_height"], row["anchor_burn_height"]) if anchored else None,
        in_flight=row["in_flight"],
        updated_at=row["updated_at"],
        succeeded_at=row["succeeded_at"],
    )


def _interleave(*queues: Sequence[str]) -> Iterator[str]:
    """Yield the first of each queue, then the second of each, and so on until all have ended."""
    for batch in zip_longest(*queues):
        yield from (key for key in batch if key is not None)


def _moment(clock: ChainClock) -> dict[str, int]:
    return {"time": clock.time, "height": clock.height, "burn_height": clock.burn_height}


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
    return {
        "id": record.id,
        "merchant_id": record.merchant,
        "status": record.status,
        "flags": [],
        "in_flight": False,
        "amount": record.amount,
        "asset": record.asset,
        "asset_identifier": record.asset_identifier,
        "recipient": record.recipient,
        "payer": record.payer,
        "reference": record.reference,
        "reference_key": reference_key,
        "reference_generated": record.reference_generated,
        "terms_hash": record.terms_hash,
        "salt": record.salt,
        "match": record.match,
        "tolerance": record.tolerance,
        "level": record.level,
        "required_stacks": record.required.stacks,
        "required_bitcoin": record.required.bitcoin,
        "late_policy": record.late_policy,
        "expires_at": record.expires_at,
        "not_before": record.not_before,
        "inclusion_grace": record.inclusion_grace,
        "monitoring": record.monitoring,
        "reorg_grace": record.reorg_grace,
        "metadata": record.metadata,
        "received": 0,
        "missing": record.amount,
        "over": 0,
        "refunded": 0,
        "as_of_height": 0,
        "as_of_time": 0,
        "created_at": record.created_at,
        "updated_at": record.created_at,
    }


def _count(connection: Connection, merchant: str, status: Status, change: int) -> None:
    statement = upsert(connection, status_count).values(merchant_id=merchant, status=status, count=change)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[status_count.c.merchant_id, status_count.c.status],
            set_={"count": status_count.c.count + change},
        )
    )
