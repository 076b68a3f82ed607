"""Intents by an exact text that people have of them: each kind of text is served by an index, newest first.

A merchant's search reads as many entries of an index as it finds; one over all merchants sorts what the text
finds altogether.
"""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, or_, select

from chain.address import AddressError, parse_principal
from watcher.domain.matching import reference_key
from watcher.store.intent_texts import text_key
from watcher.store.intents import hash_token
from watcher.store.schema import attempt, intent, intent_text, refund, transfer

#: Ids that one look at an index returns, and looks that one page takes: an address can have very many hits,
#: and filters can leave out nearly all of them.
MAX_HITS = 500
MAX_LOOKS = 20

#: 32 bytes of hex, a transaction or the terms of an intent: alone, or in the address of an explorer's page.
_HASH = re.compile(r"(?<![0-9a-zA-Z])(?:0x)?([0-9a-fA-F]{64})(?![0-9a-zA-Z])", re.ASCII)
#: The secret at the end of a checkout's address.
_TOKEN = re.compile(r"/pay/([A-Za-z0-9_-]{22,32})", re.ASCII)


_Lookup = tuple[Column[Any], ColumnElement[bool]]


class IntentSearch:
    """One search: the queries for ids that it consists of."""

    def __init__(self, few: list[_Lookup], many: list[_Lookup], merchant: str | None) -> None:
        """Make the queries from pairs of the id's column and a condition.

        ``few``: what is of few intents of any merchant; the caller leaves out others' intents. ``many``: what
        can be of very many, in an index that has the merchant before the id.
        """
        self._queries: list[tuple[Select[tuple[str]], Column[Any]]] = []
        owned = [
            (key, condition if merchant is None else condition & (key.table.c.merchant_id == merchant))
            for key, condition in many
        ]
        for key, condition in few + owned:
            query = select(key).where(condition)
            if key.table not in (intent, intent_text):  # of many transfers to one intent, it is found once
                query = query.where(key.is_not(None)).group_by(key)
            self._queries.append((query.order_by(key.desc()).limit(MAX_HITS), key))

    @classmethod
    def by_text(cls, text: str, merchant: str | None) -> "IntentSearch":
        """Return the search for a reference, an id, a transaction, an address or a text of the metadata."""
        few: list[_Lookup] = [(intent.c.id, intent.c.id == text)]
        if (hashed := _HASH.search(text)) is not None:
            tx_id = f"0x{hashed[1].lower()}"
            few += [(table.c.intent_id, table.c.tx_id == tx_id) for table in (transfer, attempt, refund)]
            few.append((intent.c.id, intent.c.terms_hash == bytes.fromhex(hashed[1])))
        if (token := _TOKEN.search(text)) is not None:
            few.append((intent.c.id, intent.c.checkout_hash == hash_token(token[1])))
        many = [*_references(text), _metadata(text)]
        if (principal := _read_principal(text)) is not None:
            many += [
                (intent.c.id, intent.c.recipient == principal),
                (intent.c.id, intent.c.payer == principal),
                (transfer.c.intent_id, transfer.c.sender == principal),
            ]
        return cls(few, many, merchant)

    @classmethod
    def by_reference(cls, reference: str, merchant: str | None) -> "IntentSearch":
        """Return the search for intents with this reference."""
        return cls([], _references(reference), merchant)

    @classmethod
    def by_link(cls, link: str) -> "IntentSearch":
        """Return the search for intents that were started from a payment link."""
        return cls([(intent.c.id, intent.c.payment_link == link)], [], None)

    @classmethod
    def by_metadata(cls, text: str, merchant: str | None) -> "IntentSearch":
        """Return the search for intents whose metadata say this under any key."""
        return cls([], [_metadata(text)], merchant)

    def batches(self, connection: Connection, *, below: str | None) -> Iterator[tuple[set[str], str | None]]:
        """Yield the ids in sets, newest first: each set lies below the one before. With each comes where the
        next one would begin: None after the last.

        Some may be of other merchants, see :meth:`__init__`.
        """
        while True:
            found: set[str] = set()
            floor = ""
            for query, key in self._queries:
                asked = query if below is None else query.where(key < below)
                ids = [str(one) for one in connection.execute(asked).scalars()]
                found.update(ids)
                if len(ids) >= MAX_HITS:  # there may be more, below the last one
                    floor = max(floor, ids[-1])
            yield {one for one in found if one >= floor}, floor or None
            if not floor:
                return
            below = floor


def answers_to(reference: str) -> ColumnElement[bool]:
    """Return the condition that an intent has this reference, normalized as for matching."""
    return or_(*(condition for _, condition in _references(reference)))


def _references(text: str) -> list[_Lookup]:
    """Return the look-ups of a reference, normalized as for matching: the merchants' own, and generated ones.

    They are two: with both in one, SQLite reads all intents of the merchant instead.
    """
    own, generated = (reference_key(text, generated=generated) for generated in (False, True))
    return [
        (intent.c.id, (intent.c.reference_key == own) & ~intent.c.reference_generated),
        (intent.c.id, (intent.c.reference_key == generated) & intent.c.reference_generated),
    ]


def _metadata(text: str) -> _Lookup:
    return (intent_text.c.intent_id, intent_text.c.key == text_key(text))


def _read_principal(text: str) -> str | None:
    try:
        return str(parse_principal(text))
    except AddressError:
        return None
