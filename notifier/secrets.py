"""Webhook secrets at rest, encrypted: a list of ``{"secret", "valid_until"}``, the current one last.

A :class:`SecretStore` is the one place where a secret turns into what the database holds and back. With a key it encrypts
them by AES-256-GCM, bound to the endpoint they belong to, so that a copy of the database signs nothing and an encrypted
secret moved to another endpoint does not open. Without a key they are stored as they are. Plain secrets stay
readable with a key; every rotation encrypts all that the endpoint still has.
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

#: What the column ``endpoint.secrets`` holds.
StoredSecrets = list[dict[str, Any]]

#: More signatures than this would only make the header long.
MAX_SECRETS = 5

KEY_BYTES = 32

#: How an encrypted secret begins: the cipher, then the key's name, then nonce and ciphertext.
_ENCRYPTED = "aes256gcm:"
_NONCE_BYTES = 12


class SecretStore:
    """Encrypts and decrypts secrets. The first key encrypts, every key decrypts; without keys secrets are stored plain."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        for key in keys:
            if len(key) != KEY_BYTES:
                raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        # What was decrypted, as long as an endpoint has it: decrypting at every attempt would cost as much as signing.
        self._decrypted: dict[tuple[str, str], str] = {}

    @property
    def encrypts(self) -> bool:
        """Say whether secrets are encrypted."""
        return bool(self._ciphers)

    @property
    def encryption_key(self) -> str | None:
        """The name of the key that encrypts; None without keys."""
        return next(iter(self._ciphers), None)

    def encrypt(self, secret: str, *, owner: str) -> str:
        """Return what is stored for a secret of the endpoint ``owner``."""
        if not self._ciphers:
            return secret
        name, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = cipher.encrypt(nonce, secret.encode(), owner.encode())
        return f"{_ENCRYPTED}{name}:{base64.b64encode(nonce + ciphertext).decode()}"

    def decrypt(self, stored: str, *, owner: str) -> str:
        """Return the stored secret in plain text; :class:`Sealed` if the keys do not decrypt it."""
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
        """Return the column's value for an endpoint that has just this secret."""
        return [{"secret": self.encrypt(secret, owner=owner), "valid_until": None}]

    def rotate(
        self, stored: StoredSecrets, secret: str, *, owner: str, now: float, overlap: float
    ) -> StoredSecrets:
        """Return the column's value with ``secret`` as the current one; the others stay valid for ``overlap`` seconds.

        An overlap of 0 ends all others at once, also those that an earlier rotation left valid, and those that do
        not open any more.
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
                f"{len(kept)} secrets of this endpoint are valid already; wait until one ends, or rotate with overlap 0"
            )
        return [*kept, *self.first(secret, owner=owner)]

    def valid_secrets(self, stored: Sequence[dict[str, Any]], *, owner: str, now: float) -> tuple[str, ...]:
        """Return the secrets to sign with at ``now``, the current one last; :class:`Sealed` if one does not open."""
        return tuple(self.decrypt(entry["secret"], owner=owner) for entry in stored if _valid(entry, now))


#: Stores secrets as they are.
PLAIN = SecretStore()

_MAX_DECRYPTED = 10_000


def read_keys(text: str) -> list[bytes]:
    """Return the keys of a key file: one per line, 64 hex digits or base64 of 32 bytes; ValueError if it is none.

    Empty lines and those that begin with ``#`` are left out. The messages do not quote the file.
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
    """Return a short name that says which key it is and nothing about it."""
    return hashlib.sha256(b"sbtc-watcher webhook key\0" + key).hexdigest()[:8]


def _valid(entry: dict[str, Any], now: float) -> bool:
    return entry["valid_until"] is None or entry["valid_until"] > now
