"""Encryption of webhook secrets at rest: a list of ``{"secret", "valid_until"}``, the current one last.

With a key, :class:`SecretStore` encrypts secrets by AES-256-GCM and binds each to its endpoint: a stolen copy
of the database signs nothing, and a secret copied to another endpoint's row cannot be decrypted. Without a
key they are stored plain. Plain secrets stay readable after a key is configured; a rotation encrypts those
that the endpoint keeps.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notifier.errors import DecryptionFailed, NotPossible

#: Value of the column ``endpoint.secrets``.
StoredSecrets = list[dict[str, Any]]

#: Most secrets that an endpoint has at once: more signatures would only make the header long.
MAX_SECRETS = 5

KEY_BYTES = 32

#: Prefix of an encrypted secret; the key's name follows, then nonce and ciphertext.
_ENCRYPTED = "aes256gcm:"
_NONCE_BYTES = 12


class SecretStore:
    """Encrypts secrets with the first key and decrypts them with any; without keys they are stored plain."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        for key in keys:
            if len(key) != KEY_BYTES:
                raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        # Cache: decrypting at every attempt would cost as much as signing.
        self._decrypted: dict[tuple[str, str], str] = {}

    @property
    def encrypts(self) -> bool:
        """Whether secrets are encrypted."""
        return bool(self._ciphers)

    @property
    def encryption_key(self) -> str | None:
        """Name of the key that encrypts; None without keys."""
        return next(iter(self._ciphers), None)

    def encrypt(self, secret: str, *, owner: str) -> str:
        """Return the stored form of a secret of the endpoint ``owner``."""
        if not self._ciphers:
            return secret
        name, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = cipher.encrypt(nonce, secret.encode(), owner.encode())
        return f"{_ENCRYPTED}{name}:{base64.b64encode(nonce + ciphertext).decode()}"

    def decrypt(self, stored: str, *, owner: str) -> str:
        """Return a stored secret in plain text; :class:`DecryptionFailed` if no key decrypts it."""
        if not stored.startswith(_ENCRYPTED):
            return stored
        known = self._decrypted.get((owner, stored))
        if known is not None:
            return known
        name, _, text = stored.removeprefix(_ENCRYPTED).partition(":")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise DecryptionFailed(owner, f"it needs the key {name}, which secret_key_file does not hold")
        try:
            ciphertext = base64.b64decode(text, validate=True)
            secret = cipher.decrypt(
                ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], owner.encode()
            ).decode()
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed(owner, "it was damaged, or belongs to another endpoint") from error
        if len(self._decrypted) >= _MAX_DECRYPTED:
            self._decrypted.clear()
        self._decrypted[owner, stored] = secret
        return secret

    def first(self, secret: str, *, owner: str) -> StoredSecrets:
        """Return the column's value for an endpoint with this one secret."""
        return [{"secret": self.encrypt(secret, owner=owner), "valid_until": None}]

    def rotate(
        self, stored: StoredSecrets, secret: str, *, owner: str, now: float, overlap: float
    ) -> StoredSecrets:
        """Return the column's value with a new current ``secret``; old ones end after ``overlap`` seconds.

        An overlap of 0 ends all old ones at once, also those that cannot be decrypted any more.
        :class:`NotPossible` if :data:`MAX_SECRETS` would be exceeded.
        """
        until = now + overlap
        kept = [
            {
                "secret": self.encrypt(self.decrypt(entry["secret"], owner=owner), owner=owner),
                "valid_until": min(until, entry["valid_until"] or until),
            }
            for entry in stored
            if overlap > 0 and _valid(entry, now)
        ]
        if len(kept) >= MAX_SECRETS:
            raise NotPossible(
                f"{len(kept)} secrets of this endpoint are valid already;"
                " wait until one ends, or rotate with overlap 0"
            )
        return [*kept, *self.first(secret, owner=owner)]

    def valid_secrets(self, stored: Sequence[dict[str, Any]], *, owner: str, now: float) -> tuple[str, ...]:
        """Return the secrets that sign at ``now``, the current one last. Raises :class:`DecryptionFailed`."""
        return tuple(self.decrypt(entry["secret"], owner=owner) for entry in stored if _valid(entry, now))


#: Store without keys.
PLAIN = SecretStore()

_MAX_DECRYPTED = 10_000


def read_keys(text: str) -> list[bytes]:
    """Parse a key file: one key per line, 64 hex digits or base64 of 32 bytes; ValueError if it is malformed.

    Empty lines and lines that begin with ``#`` are skipped. Error messages do not quote the file.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if word and not word.startswith("#"):
            key = _read_key(word)
            if key is None:
                raise ValueError(f"line {number} is no key; write 64 hex digits (openssl rand -hex 32)")
            keys.append(key)
    if not keys:
        raise ValueError("holds no key; write 64 hex digits into it (openssl rand -hex 32)")
    return keys


def _read_key(word: str) -> bytes | None:
    try:
        key = bytes.fromhex(word) if len(word) == 2 * KEY_BYTES else base64.b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None


def _name(key: bytes) -> str:
    """Return a key's name: a short fingerprint."""
    return hashlib.sha256(b"sbtc-watcher webhook key\0" + key).hexdigest()[:8]


def _valid(entry: dict[str, Any], now: float) -> bool:
    return entry["valid_until"] is None or entry["valid_until"] > now
