"""Idempotency: the stored answers to requests that carried an ``Idempotency-Key``.

An answer is written in the transaction of what the request did: a process that dies before the commit leaves
nothing, one that dies after it leaves the answer. Only what was done is kept; a refusal did nothing, and is
judged again.

Answers can hold secrets that are shown once. So they are sealed by a key that is derived from the
``Idempotency-Key`` itself, of which the database has no more than a hash: who sends the key again can read
the answer, who copies the database cannot.

Ages go by the clock that judges, see :mod:`notifier.clock`; ``now`` is this machine's, for SQLite.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, delete, insert, select, text

from notifier.clock import database_time
from watcher.errors import Refused
from watcher.store.process_schema import idempotency

#: How long an answer is given again, seconds.
KEPT_SECONDS = 86_400

#: Characters of a key, at most.
MAX_KEY = 255

#: Rows that are deleted in one transaction.
_BATCH = 1000

_NONCE_BYTES = 12
_PURPOSE = b"sbtc-watcher idempotency answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered: the status and the body's bytes."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request with an idempotency key. ``scope``: a merchant's id, or ``operator``; ``asked``: its
    fingerprint.
    """

    scope: str
    key: str
    #: SHA-256 of what is asked, see :func:`fingerprint`.
    asked: bytes

    @property
    def digest(self) -> bytes:
        """What the request is stored under."""
        return hashlib.sha256(f"{self.scope}|{self.key}".encode()).digest()


def check_key(key: str, *others: str) -> str:
    """Return a key that can be used; a request has no ``others``. Raises :class:`Refused`."""
    if others:
        raise Refused("validation", errors=[{"field": "Idempotency-Key", "message": "is given twice"}])
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        message = f"must be 1 to {MAX_KEY} printable ASCII characters, for example a UUID"
        raise Refused("validation", errors=[{"field": "Idempotency-Key", "message": message}])
    return key


def fingerprint(method: str, path: str, body: Any) -> bytes:
    """Return what tells two requests apart; ``body`` is parsed JSON, so that spacing and order do not matter.

    Nor does it matter whether a whole number is written as such or as a text: both are read alike.
    """
    canonical = json.dumps(_plain(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{method}\n{path}\n{canonical}".encode()).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def recall(connection: Connection, idempotent: IdempotentRequest, *, now: float) -> Answer | None:
    """Return the answer that this request got already, None if it was not done within :data:`KEPT_SECONDS`
    seconds.

    Raises :class:`Refused` (``idempotency_mismatch``) when another request had the same key.
    """
    row = connection.execute(select(idempotency).where(idempotency.c.key == idempotent.digest)).one_or_none()
    if row is None or row.created_at <= database_time(connection, machine=now) - KEPT_SECONDS:
        return None
    if bytes(row.fingerprint) != idempotent.asked:
        raise Refused(
            "idempotency_mismatch",
            "this Idempotency-Key was used for another request",
            hint="send the same path and body again, or use a fresh key",
        )
    return Answer(status=row.status, body=_decrypt(idempotent, bytes(row.answer)))


def begin(connection: Connection, idempotent: IdempotentRequest, *, now: float) -> Answer | None:
    """Begin a write transaction's work: like :func:`recall`, and lock the key until the transaction ends.

    Raises :class:`Refused`, also with ``idempotency_in_progress`` when another process is at it.
    """
    if connection.dialect.name != "sqlite":  # there the write lock does it
        number = int.from_bytes(idempotent.digest[:8], "big", signed=True)
        got = connection.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number})
        if not got.scalar_one():
            raise in_progress()
    return recall(connection, idempotent, now=now)


def remember(connection: Connection, idempotent: IdempotentRequest, answer: Answer, *, now: float) -> None:
    """Store the answer to what this transaction did."""
    connection.execute(delete(idempotency).where(idempotency.c.key == idempotent.digest))  # an outdated one
    connection.execute(
        insert(idempotency).values(
            key=idempotent.digest,
            fingerprint=idempotent.asked,
            status=answer.status,
            answer=_encrypt(idempotent, answer.body),
            created_at=int(database_time(connection, machine=now)),
        )
    )


def prune(connection: Connection, *, now: float) -> int:
    """Delete a batch of rows that do not count any more; return how many, 0 when all are gone."""
    before = database_time(connection, machine=now) - KEPT_SECONDS
    old = select(idempotency.c.key).where(idempotency.c.created_at <= before).limit(_BATCH)
    return connection.execute(delete(idempotency).where(idempotency.c.key.in_(old))).rowcount


def in_progress() -> Refused:
    """Return the refusal of a request that is being done at this moment."""
    return Refused(
        "idempotency_in_progress",
        "a request with this Idempotency-Key is being done",
        hint="send it again in a moment",
    )


def _cipher(idempotent: IdempotentRequest) -> AESGCM:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=idempotent.digest, info=_PURPOSE)
    return AESGCM(derivation.derive(idempotent.key.encode()))


def _encrypt(idempotent: IdempotentRequest, body: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(idempotent).encrypt(nonce, body, idempotent.asked)


def _decrypt(idempotent: IdempotentRequest, ciphertext: bytes) -> bytes:
    try:
        return _cipher(idempotent).decrypt(
            ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], idempotent.asked
        )
    except InvalidTag:
        raise Refused(
            "idempotency_mismatch", "the stored answer to this Idempotency-Key is damaged"
        ) from None
