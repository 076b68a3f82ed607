"""What the metadata of intents say, to be looked up exactly: rows of ``intent_text``."""

import hashlib
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, insert

from watcher.store.schema import intent_text


def text_key(text: str) -> bytes:
    """Return the form in which a text is looked up: without regard to case and outer spaces."""
    return hashlib.sha256(text.strip().casefold().encode()).digest()[:16]


def add_texts(connection: Connection, added: Iterable[tuple[str, str, Mapping[str, str]]]) -> None:
    """Store what the metadata of new intents say: of each its id, its merchant and its metadata."""
    rows = [
        {"key": key, "merchant_id": merchant, "intent_id": intent_id}
        for intent_id, merchant, metadata in added
        for key in sorted({text_key(text) for text in metadata.values() if text.strip()})
    ]
    if rows:
        connection.execute(insert(intent_text), rows)
