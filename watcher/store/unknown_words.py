"""The words of the API that this version does not know: which, how often, and since which block."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from chain.api.parse import KNOWN_WORDS
from chain.model import Block
from watcher.store.process_schema import unknown_word

#: Words that are kept; further ones are only in the log.
MAX_WORDS_KEPT = 100

#: How long a word counts after it was last seen, seconds.
FORGET_AFTER_SECONDS = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One word, the number of blocks that contain it, and the height of the first."""

    kind: str
    word: str
    blocks: int
    first_height: int


def record(connection: Connection, blocks: Sequence[Block], *, now: int) -> None:
    """Record the words of applied blocks that this version does not know; ``now`` in unix seconds."""
    counts = Counter(word for block in blocks for word in block.unknown)
    if not counts:
        return
    connection.execute(delete(unknown_word).where(unknown_word.c.last_seen_at < now - FORGET_AFTER_SECONDS))
    left = MAX_WORDS_KEPT - connection.execute(select(func.count()).select_from(unknown_word)).scalar_one()
    for word, count in sorted(counts.items()):
        row = (unknown_word.c.kind == word.kind) & (unknown_word.c.word == word.word)
        known = connection.execute(
            update(unknown_word).where(row).values(blocks=unknown_word.c.blocks + count, last_seen_at=now)
        ).rowcount
        if not known and left > 0:
            left -= 1
            first = min(block.header.height for block in blocks if word in block.unknown)
            connection.execute(
                insert(unknown_word).values(
                    kind=word.kind, word=word.word, blocks=count, first_height=first, last_seen_at=now
                )
            )


def load(connection: Connection, *, now: float) -> list[Seen]:
    """Return the recent words that this version still does not know, in the order they came."""
    query = select(unknown_word).where(unknown_word.c.last_seen_at >= int(now) - FORGET_AFTER_SECONDS)
    return [
        Seen(kind=row.kind, word=row.word, blocks=row.blocks, first_height=row.first_height)
        for row in connection.execute(query.order_by(unknown_word.c.first_height, unknown_word.c.word))
        if row.word not in KNOWN_WORDS.get(row.kind, frozenset())
    ]
