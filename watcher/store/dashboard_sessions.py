"""Sessions of the dashboard, links that sign in once, and the log of sign-ins. Times are unix seconds."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, or_, select, update

from watcher.schemas import Page
from watcher.store.dashboard_schema import dashboard_session as session
from watcher.store.dashboard_schema import login_link, sign_in
from watcher.store.pagination import fetch_page
from watcher.store.schema import api_key, merchant

#: Rows that are deleted in one transaction.
BATCH_ROWS = 1000

Row = Mapping[str, Any]


def add(connection: Connection, **values: Any) -> None:
    """Store a session."""
    connection.execute(insert(session).values(**values))


def find(connection: Connection, token_hash: bytes) -> Row | None:
    """Return a session that was not ended, with what its merchant and its key are now."""
    row = connection.execute(_BY_TOKEN, {"token_hash": token_hash}).mappings().one_or_none()
    return None if row is None else dict(row)


def end(connection: Connection, session_id: str, *, now: float) -> None:
    """End a session; one that has ended stays as it is."""
    condition = (session.c.id == session_id, session.c.ended_at.is_(None))
    connection.execute(update(session).where(*condition).values(ended_at=int(now)))


def view(connection: Connection, session_id: str, merchant_id: str | None) -> None:
    """Store which merchant an operator looks at."""
    connection.execute(update(session).where(session.c.id == session_id).values(viewed_id=merchant_id))


def of_owner(connection: Connection, merchant_id: str | None, *, limit: int) -> list[Row]:
    """Return the newest sessions of a merchant, or with None of operators, that were not ended."""
    mine = session.c.merchant_id.is_(None) if merchant_id is None else session.c.merchant_id == merchant_id
    query = select(session).where(mine, session.c.ended_at.is_(None))
    return [
        dict(row) for row in connection.execute(query.order_by(session.c.id.desc()).limit(limit)).mappings()
    ]


def record_use(connection: Connection, used: Mapping[str, float]) -> None:
    """Note when sessions were used last, by their ids. Never goes back."""
    if not used:
        return
    moment: BindParameter[int] = bindparam("at")
    connection.execute(
        update(session)
        .where(session.c.id == bindparam("session_id"), session.c.last_used_at < moment)
        .values(last_used_at=moment),
        [{"session_id": session_id, "at": int(at)} for session_id, at in sorted(used.items())],
    )


def add_link(connection: Connection, **values: Any) -> None:
    """Store a link that signs in once."""
    connection.execute(insert(login_link).values(**values))


def find_link(connection: Connection, token_hash: bytes) -> Row | None:
    """Return a link's row with the status of its merchant, used or not."""
    query = (
        select(login_link, merchant.c.status.label("merchant_status"), merchant.c.name)
        .join(merchant, merchant.c.id == login_link.c.merchant_id)
        .where(login_link.c.token_hash == token_hash)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def use_link(connection: Connection, token_hash: bytes, *, now: float) -> bool:
    """Use up a link; False when it was used before, also in this moment by another process."""
    condition = (login_link.c.token_hash == token_hash, login_link.c.used_at.is_(None))
    return connection.execute(update(login_link).where(*condition).values(used_at=int(now))).rowcount == 1


def add_sign_in(connection: Connection, **values: Any) -> None:
    """Add a line to the log of sign-ins."""
    connection.execute(insert(sign_in).values(**values))


def sign_ins(connection: Connection, merchant_id: str | None, page: Page) -> tuple[list[Row], str | None]:
    """Return a page of the log, newest first: of a merchant, or with None all of it; and its next cursor."""
    query = select(sign_in)
    if merchant_id is not None:
        query = query.where(sign_in.c.merchant_id == merchant_id)
    rows, following = fetch_page(connection, query, sign_in, page)
    return [dict(row) for row in rows], following


def prune(connection: Connection, *, before: float, keep: int) -> int:
    """Delete a batch of sessions, links and lines of the log from before a time, and of the log what is older
    than its ``keep`` newest lines. Return how many, 0 when all are gone.
    """
    newest = select(sign_in.c.id).order_by(sign_in.c.id.desc()).offset(keep).limit(1).scalar_subquery()
    old = {
        session: (session.c.id, session.c.created_at < before),
        login_link: (login_link.c.token_hash, login_link.c.created_at < before),
        sign_in: (sign_in.c.id, or_(sign_in.c.at < before, sign_in.c.id <= newest)),
    }
    count = 0
    for table, (key, condition) in old.items():
        batch = select(key).where(condition).limit(BATCH_ROWS)
        count += connection.execute(delete(table).where(key.in_(batch))).rowcount
    return count


_BY_TOKEN = (
    select(
        session,
        merchant.c.name.label("merchant_name"),
        merchant.c.status.label("merchant_status"),
        api_key.c.revoked_at.label("key_revoked_at"),
        api_key.c.expires_at.label("key_expires_at"),
    )
    .outerjoin(merchant, merchant.c.id == func.coalesce(session.c.merchant_id, session.c.viewed_id))
    .outerjoin(api_key, api_key.c.id == session.c.key_id)
    .where(session.c.token_hash == bindparam("token_hash"), session.c.ended_at.is_(None))
)
