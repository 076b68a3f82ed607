"""API keys of merchants: create, find, rotate, revoke. Every function works on an open connection.

A key is shown once and stored as its SHA-256, which is enough for 192 random bits. A merchant has up to
:data:`MAX_KEYS` valid ones, each with a name and scopes.
"""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, insert, or_, select, update

from contracts.networks import NetworkName
from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher.errors import NotFound, Refused
from watcher.schemas import AddApiKey, Scope
from watcher.store.schema import api_key, merchant

#: 24 random bytes are 32 URL-safe characters.
_KEY_BYTES = 24

_SHAPE = re.compile(r"sk_(?:live|test)_[A-Za-z0-9_-]{32}", re.ASCII)

#: Valid keys of one merchant, at most.
MAX_KEYS = 50

#: The longest time that a key which is being replaced stays valid, seconds.
MAX_OVERLAP = 30 * 86400

DEFAULT_NAME = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyOwner:
    """The owner of an API key, and its scopes."""

    key_id: str
    merchant: str
    scopes: frozenset[Scope]


def add(
    connection: Connection,
    network: NetworkName,
    merchant_id: str,
    request: AddApiKey,
    *,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Mapping[str, Any], str]:
    """Give a merchant one more key; return its row and the key, which is not kept.

    Raises :class:`NotFound`, :class:`Refused` (``merchant_disabled``, ``too_many_keys``).
    """
    _check_active(connection, merchant_id)
    if len(_valid(connection, merchant_id, now)) >= MAX_KEYS:
        raise Refused(
            "too_many_keys",
            f"merchant {merchant_id} has {MAX_KEYS} valid keys",
            hint="revoke those that are not used",
        )
    kind = "live" if network is NetworkName.MAINNET else "test"
    key = f"sk_{kind}_{base64.urlsafe_b64encode(entropy(_KEY_BYTES)).decode()}"
    key_id = new_id("key_", now, entropy)
    connection.execute(
        insert(api_key).values(
            id=key_id,
            merchant_id=merchant_id,
            hash=_hash(key),
            name=request.name or DEFAULT_NAME,
            scopes=[str(scope) for scope in request.scopes or Scope],
            created_at=int(now),
        )
    )
    return find(connection, key_id), key


def find(connection: Connection, key_id: str, *, merchant_id: str | None = None) -> Mapping[str, Any]:
    """Return a key's row. ``merchant_id``: its owner, checked. Raises :class:`NotFound`."""
    row = connection.execute(select(api_key).where(api_key.c.id == key_id)).mappings().one_or_none()
    if row is None or merchant_id not in (None, row["merchant_id"]):
        raise NotFound(f"no key {key_id}", hint="sbtc-watcher merchants keys list MERCHANT shows them")
    return {str(column): value for column, value in row.items()}


def of_merchant(connection: Connection, merchant_id: str) -> list[Mapping[str, Any]]:
    """Return the rows of all keys that a merchant has or had, newest first."""
    query = select(api_key).where(api_key.c.merchant_id == merchant_id).order_by(api_key.c.id.desc())
    return [
        {str(column): value for column, value in row.items()} for row in connection.execute(query).mappings()
    ]


def revoke(
    connection: Connection, key_id: str, *, now: float, merchant_id: str | None = None
) -> Mapping[str, Any]:
    """Make a key invalid at once and return its row; a key that is so already stays as it is.

    Raises :class:`NotFound`.
    """
    find(connection, key_id, merchant_id=merchant_id)
    condition = (api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
    connection.execute(update(api_key).where(*condition).values(revoked_at=int(now)))
    return find(connection, key_id)


def retire(connection: Connection, merchant_id: str, *, now: float, overlap: float = 0) -> None:
    """Make a merchant's valid keys invalid: at once, or after ``overlap`` seconds (those that end sooner stay
    so).
    """
    mine = (api_key.c.merchant_id == merchant_id, _is_valid(now))
    until = overlap_end(now, overlap)
    if until is None:
        connection.execute(update(api_key).where(*mine).values(revoked_at=int(now)))
        return
    running_longer = or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > until)
    connection.execute(update(api_key).where(*mine, running_longer).values(expires_at=until))


def overlap_end(now: float, overlap: float) -> int | None:
    """Return until when retired keys stay valid, unix seconds; None = they end at once."""
    return int(now + overlap) if overlap > 0 else None


def rotate(
    connection: Connection,
    network: NetworkName,
    merchant_id: str,
    *,
    overlap: float = 0,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Mapping[str, Any], str]:
    """Retire a merchant's keys (:func:`retire`) and return a fresh one with all scopes (:func:`add`)."""
    if not 0 <= overlap <= MAX_OVERLAP:
        message = f"must be 0 to {MAX_OVERLAP // 86400}d"
        raise Refused("validation", errors=[{"field": "overlap", "message": message}])
    _check_active(connection, merchant_id)
    retire(connection, merchant_id, now=now, overlap=overlap)
    return add(connection, network, merchant_id, AddApiKey(), now=now, entropy=entropy)


def find_owner(connection: Connection, key: str, *, now: float) -> ApiKeyOwner | None:
    """Return the owner of a valid key, None if there is none."""
    if not _SHAPE.fullmatch(key):
        return None  # wild guesses cost no query
    digest = _hash(key)
    row = connection.execute(_BY_HASH, {"hash": digest, "now": int(now)}).one_or_none()
    # The index found it by its hash already; the last comparison takes the same time whatever the key.
    if row is None or not hmac.compare_digest(bytes(row.hash), digest):
        return None
    return ApiKeyOwner(
        key_id=row.id, merchant=row.merchant_id, scopes=frozenset(Scope(scope) for scope in row.scopes)
    )


def find_any(connection: Connection, key: str) -> Mapping[str, Any] | None:
    """Return the row of a key, also of one that is not valid any more; None for no key of ours."""
    if not _SHAPE.fullmatch(key):
        return None
    row = connection.execute(select(api_key).where(api_key.c.hash == _hash(key))).mappings().one_or_none()
    return None if row is None else {str(column): value for column, value in row.items()}


def record_use(connection: Connection, used: Mapping[str, float]) -> None:
    """Note when keys were used last: unix seconds by key id. Never goes back."""
    if not used:
        return
    moment: BindParameter[int] = bindparam("at")
    older = or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < moment)
    connection.execute(
        update(api_key).where(api_key.c.id == bindparam("key_id"), older).values(last_used_at=moment),
        [{"key_id": key_id, "at": int(at)} for key_id, at in sorted(used.items())],
    )


def document(row: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    """Return a key as people and programs see it, without the key itself."""
    ended = row["expires_at"] is not None and row["expires_at"] <= now
    times = {
        name: rfc3339(row[name]) if row[name] is not None else None
        for name in ("created_at", "last_used_at", "expires_at", "revoked_at")
    }
    return {
        "id": row["id"],
        "object": "api_key",
        "merchant": row["merchant_id"],
        "name": row["name"],
        "scopes": row["scopes"],
        "status": "revoked" if row["revoked_at"] is not None else "expired" if ended else "active",
        **times,
    }


def _check_active(connection: Connection, merchant_id: str) -> None:
    query = select(merchant.c.status).where(merchant.c.id == merchant_id).with_for_update()
    status = connection.execute(query).scalar_one_or_none()
    if status is None:
        raise NotFound(f"no merchant {merchant_id}", hint="sbtc-watcher merchants list shows them")
    if status != "active":
        raise Refused("merchant_disabled", f"merchant {merchant_id} is disabled and gets no key")


def _valid(connection: Connection, merchant_id: str, now: float) -> list[str]:
    query = select(api_key.c.id).where(api_key.c.merchant_id == merchant_id, _is_valid(now))
    return [str(key_id) for key_id in connection.execute(query).scalars()]


def _is_valid(now: object) -> ColumnElement[bool]:
    return api_key.c.revoked_at.is_(None) & or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


_BY_HASH = select(api_key).where(api_key.c.hash == bindparam("hash"), _is_valid(bindparam("now")))
