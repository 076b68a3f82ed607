"""Signing in to the dashboard: with an API key, with the admin token, or with a link that works once.

A session is a row, and a cookie holds 256 random bits of which the row has the hash. It ends with what it was
made from: a key that is revoked or expired, a merchant that is disabled, an admin token that is another. And
it ends by itself, when it is not used or grows old. Ages go by the clock that judges, see
:mod:`notifier.clock`.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from notifier.clock import database_time
from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher.config.settings import Settings
from watcher.errors import NotFound, Refused
from watcher.schemas import Page, Scope
from watcher.schemas.dashboard import NewLoginLink
from watcher.services import api_keys, merchants
from watcher.services.context import Context, Document
from watcher.store import dashboard_sessions as store

#: A session ends when it was not used for so long, and when it is so old, seconds.
IDLE_SECONDS = 2 * 3600
MAX_AGE_SECONDS = 12 * 3600

#: How long a link to sign in works, seconds.
LINK_SECONDS = 600

#: Sessions of one merchant, and of all operators, at the same time; the oldest gives way.
MAX_SESSIONS = 50

#: Lines of the log of sign-ins, at most.
MAX_SIGN_INS = 10_000

#: Characters of a browser's name for itself.
MAX_AGENT = 200

#: Seconds by which a row may come from the future before its clock counts as wrong.
_TOLERANCE = 60

_TOKEN_BYTES = 32


class How(StrEnum):
    """What somebody signs in with."""

    API_KEY = "api_key"
    ADMIN_TOKEN = "admin_token"  # noqa: S105 - a word
    LOGIN_LINK = "login_link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """Where a request comes from: the address, and what the browser calls itself."""

    address: str
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSession:
    """Who is signed in. ``merchant``: the one that is looked at, None for an operator who looks at all."""

    id: str
    how: How
    is_operator: bool
    scopes: frozenset[Scope]
    key_id: str | None
    merchant: str | None
    merchant_name: str | None
    created_at: int

    @property
    def actor(self) -> str:
        """The name in operator actions: as of the API, else the session's."""
        if self.key_id is not None:
            return f"key:{self.key_id}"
        return "admin" if self.is_operator else f"session:{self.id}"


def sign_in(
    connection: Connection, secret: str, *, settings: Settings, browser: Browser, now: float
) -> str | None:
    """Sign in with an API key or the admin token. Return the secret of a new session, None if it is wrong.

    Either way the log has a line more.
    """
    time = database_time(connection, machine=now)
    if not secret.startswith("sk_"):
        token = settings.admin_token
        right = token is not None and _same(secret, token.get_secret_value())
        if not right:
            problem = "wrong admin token" if token is not None else "neither a key nor an admin token"
            _log(connection, How.ADMIN_TOKEN, browser, time, problem=problem)
            return None
        return _begin(connection, How.ADMIN_TOKEN, browser, time, scopes=tuple(Scope), admin_token=secret)
    owner = api_keys.find_owner(connection, secret, now=now)
    if owner is None:
        known = api_keys.find_any(connection, secret)
        of = {} if known is None else {"merchant": known["merchant_id"], "key": known["id"]}
        problem = "no such key" if known is None else "the key was revoked or has expired"
        _log(connection, How.API_KEY, browser, time, problem=problem, **of)
        return None
    of = {"merchant": owner.merchant, "key": owner.key_id}
    if Scope.READ not in owner.scopes:
        _log(connection, How.API_KEY, browser, time, problem="the key may not read", **of)
        return None
    scopes = tuple(scope for scope in Scope if scope in owner.scopes)
    return _begin(connection, How.API_KEY, browser, time, scopes=scopes, **of)


def sign_in_with_link(connection: Connection, token: str, *, browser: Browser, now: float) -> str | None:
    """Use up a login link. Return the secret of a new session, None if it does not work, or not any more."""
    time = database_time(connection, machine=now)
    row = store.find_link(connection, _hash(token))
    if row is None:
        _log(connection, How.LOGIN_LINK, browser, time, problem="no such link")
        return None
    problem = None
    if not _is_fresh(row, time):
        problem = "the link is over"
    elif row["merchant_status"] != "active":
        problem = "the merchant is disabled"
    elif not store.use_link(connection, row["token_hash"], now=time):
        problem = "the link was used before"
    if problem is not None:
        _log(connection, How.LOGIN_LINK, browser, time, problem=problem, merchant=row["merchant_id"])
        return None
    return _begin(
        connection, How.LOGIN_LINK, browser, time, scopes=row["scopes"], merchant=row["merchant_id"]
    )


def peek_link(connection: Connection, token: str, *, now: float) -> str | None:
    """Return the name of the merchant that a login link signs in, None if it does not work; uses up
    nothing.
    """
    row = store.find_link(connection, _hash(token))
    time = database_time(connection, machine=now)
    works = row is not None and row["used_at"] is None and row["merchant_status"] == "active"
    return str(row["name"]) if row is not None and works and _is_fresh(row, time) else None


def find(connection: Connection, secret: str, *, settings: Settings, now: float) -> DashboardSession | None:
    """Return the session of a cookie's secret, None if there is none or it is over."""
    row = store.find(connection, _hash(secret))
    if row is None or not hmac.compare_digest(bytes(row["token_hash"]), _hash(secret)):
        return None
    time = database_time(connection, machine=now)
    if not _is_live(row, time) or not _has_grounds(row, secret, settings, time):
        return None
    is_operator = row["merchant_id"] is None
    return DashboardSession(
        id=row["id"],
        how=How(row["how"]),
        is_operator=is_operator,
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        key_id=row["key_id"],
        merchant=row["viewed_id"] if is_operator else row["merchant_id"],
        merchant_name=row["merchant_name"],
        created_at=row["created_at"],
    )


def sign_out(connection: Connection, secret: str, *, now: float) -> None:
    """End the session of a cookie's secret, if it has one."""
    row = store.find(connection, _hash(secret))
    if row is not None:
        store.end(connection, row["id"], now=database_time(connection, machine=now))


def record_use(connection: Connection, used: Mapping[str, float], *, now: float) -> None:
    """Note when sessions were used last, by their ids and this machine's clock, which says ``now``."""
    ahead = now - database_time(connection, machine=now)
    store.record_use(connection, {session_id: at - ahead for session_id, at in used.items()})


def prune(connection: Connection, *, now: float, keep_days: int) -> int:
    """Delete a batch of what is older than the retention; return how many rows, 0 when all are gone."""
    before = database_time(connection, machine=now) - keep_days * 86_400
    return store.prune(connection, before=before, keep=MAX_SIGN_INS)


class DashboardService(Context):
    """Sessions of the dashboard: a merchant's own, or of operators."""

    def add_login_link(self, merchant_id: str, request: NewLoginLink) -> Document:
        """Make a link that signs a merchant in once, within :data:`LINK_SECONDS` seconds."""
        row = merchants.find(self.connection, merchant_id)
        if row["status"] != "active":
            raise Refused("merchant_disabled", f"merchant {merchant_id} is disabled and cannot sign in")
        token = _new_token(os.urandom)
        time = int(self.shared_now)
        scopes = [str(scope) for scope in request.scopes or Scope]
        store.add_link(
            self.connection,
            token_hash=_hash(token),
            merchant_id=merchant_id,
            scopes=scopes,
            actor=self.actor,
            created_at=time,
        )
        path = f"/dashboard/sign-in?link={token}"
        base = self.settings.public_url
        return {
            "object": "login_link",
            "merchant": merchant_id,
            "scopes": scopes,
            "path": path,
            "url": None if base is None else f"{base}{path}",
            "expires_at": rfc3339(time + LINK_SECONDS),
        }

    def dashboard_sessions(self) -> Document:
        """Return who is signed in, newest first: for the merchant, or with none for operators."""
        rows = store.of_owner(self.connection, self.merchant, limit=MAX_SESSIONS)
        live = [_document(row) for row in rows if _is_live(row, self.shared_now)]
        return {"data": live, "next_cursor": None}

    def end_dashboard_session(self, session_id: str) -> Document:
        """End a session of the merchant, or with none of an operator, and return it."""
        for row in store.of_owner(self.connection, self.merchant, limit=MAX_SESSIONS):
            if row["id"] == session_id:
                store.end(self.connection, session_id, now=self.shared_now)
                return _document(row)
        raise NotFound(f"no session {session_id}", hint="it may have ended already")

    def view_merchant(self, session_id: str, merchant_id: str | None) -> Document:
        """Let an operator's session look at one merchant, or with None at all of them."""
        if merchant_id is not None:
            merchants.find(self.connection, merchant_id)
        store.view(self.connection, session_id, merchant_id)
        return {"session": session_id, "merchant": merchant_id}

    def sign_ins(self, page: Page) -> Document:
        """Return a page of the log of sign-ins, newest first: the merchant's, or with none all of it."""
        rows, following = store.sign_ins(self.connection, self.merchant, page)
        return {"data": [_sign_in(row) for row in rows], "next_cursor": following}


def _begin(
    connection: Connection,
    how: How,
    browser: Browser,
    time: float,
    *,
    scopes: Sequence[str],
    merchant: str | None = None,
    key: str | None = None,
    admin_token: str | None = None,
    entropy: Entropy = os.urandom,
) -> str:
    """Store a session, and a line of the log; return the session's secret."""
    secret = _new_token(entropy)
    session_id = new_id("ses_", time, entropy)
    for row in store.of_owner(connection, merchant, limit=2 * MAX_SESSIONS)[MAX_SESSIONS - 1 :]:
        store.end(connection, row["id"], now=time)
    store.add(
        connection,
        id=session_id,
        token_hash=_hash(secret),
        how=how.value,
        merchant_id=merchant,
        key_id=key,
        admin_mark=None if admin_token is None else _mark(secret, admin_token),
        scopes=[str(scope) for scope in scopes],
        address=browser.address[:64],
        agent=browser.agent[:MAX_AGENT],
        created_at=int(time),
        last_used_at=int(time),
    )
    _log(connection, how, browser, time, merchant=merchant, key=key, session=session_id)
    return secret


def _log(
    connection: Connection,
    how: How,
    browser: Browser,
    time: float,
    *,
    merchant: str | None = None,
    key: str | None = None,
    session: str | None = None,
    problem: str | None = None,
) -> None:
    store.add_sign_in(
        connection,
        id=new_id("sig_", time, os.urandom),
        at=int(time),
        how=how.value,
        merchant_id=merchant,
        key_id=key,
        session_id=session,
        problem=problem,
        address=browser.address[:64],
        agent=browser.agent[:MAX_AGENT],
    )


def _is_live(row: Mapping[str, Any], time: float) -> bool:
    """Return whether a session is neither idle nor too old; one from the future had a wrong clock."""
    age, idle = time - row["created_at"], time - row["last_used_at"]
    return bool(-_TOLERANCE <= age < MAX_AGE_SECONDS and idle < IDLE_SECONDS)


def _is_fresh(row: Mapping[str, Any], time: float) -> bool:
    """Return whether a login link still works by its age."""
    return bool(-_TOLERANCE <= time - row["created_at"] < LINK_SECONDS)


def _has_grounds(row: Mapping[str, Any], secret: str, settings: Settings, time: float) -> bool:
    """Return whether what a session was made from still opens the door."""
    if row["merchant_id"] is None:
        token = settings.admin_token
        mark = row["admin_mark"]
        return (
            token is not None
            and mark is not None
            and hmac.compare_digest(bytes(mark), _mark(secret, token.get_secret_value()))
        )
    if row["merchant_status"] != "active" or row["key_revoked_at"] is not None:
        return False
    expires = row["key_expires_at"]
    return bool(expires is None or expires > int(time))


def _document(row: Mapping[str, Any]) -> Document:
    times = {name: rfc3339(row[name]) for name in ("created_at", "last_used_at")}
    names = ("id", "how", "scopes", "address", "agent")
    return {name: row[name] for name in names} | {"key": row["key_id"]} | times


def _sign_in(row: Mapping[str, Any]) -> Document:
    names = ("id", "how", "problem", "address", "agent")
    found = {name: row[name] for name in names} | {"at": rfc3339(row["at"])}
    return found | {"merchant": row["merchant_id"], "key": row["key_id"], "session": row["session_id"]}


def _new_token(entropy: Entropy) -> str:
    return base64.urlsafe_b64encode(entropy(_TOKEN_BYTES)).decode().rstrip("=")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _mark(secret: str, admin_token: str) -> bytes:
    """Return what ties an operator's session to the admin token; it says nothing to who lacks the secret."""
    return hmac.digest(secret.encode(), admin_token.encode(), "sha256")


def _same(given: str, secret: str) -> bool:
    """Compare in a time that says nothing, not even of the length."""
    return hmac.compare_digest(_hash(given), _hash(secret))
