"""Uniqueness of an intent's reference, terms and recipient.

It is read for many intents at once, and goes on with those that are let in, so that of two in one batch the
second is judged as if the first were stored.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, func, select

from notifier.statements import chunks, one_of
from watcher.domain.matching import intent_keys, label_keys, reference_key
from watcher.domain.model import Intent, Match
from watcher.errors import Refused
from watcher.services import merchants
from watcher.store import intents as intent_store
from watcher.store.schema import intent as intent_table
from watcher.store.schema import merchant as merchant_table
from watcher.store.schema import recipient as recipient_table

_REFERENCES = select(intent_table.c.reference_key, intent_table.c.id).where(
    intent_table.c.merchant_id == bindparam("merchant"), intent_table.c.reference_key.in_(one_of("keys"))
)
_TERMS = select(intent_table.c.terms_hash).where(intent_table.c.terms_hash.in_(one_of("hashes")))
_WATCHERS = select(recipient_table).where(recipient_table.c.principal.in_(one_of("principals")))


def label_keys_of(intent: Intent) -> tuple[str, str]:
    """Return the label keys that an intent answers to."""
    return intent_keys(intent.reference, intent.terms_hash, generated=intent.reference_generated)


def reference_key_of(intent: Intent) -> str:
    """Return the form in which an intent's reference is compared."""
    return reference_key(intent.reference, generated=intent.reference_generated)


class UniquenessChecker:
    """Checks intents of one ``merchant`` at a chain ``time``; the caller holds the cursor's lock."""

    def __init__(self, connection: Connection, *, merchant: str, time: int) -> None:
        self._connection = connection
        self._merchant = merchant
        self._time = time
        #: The merchant's own, by the form in which they are compared.
        self._references: dict[str, str] = {}
        self._by_label: defaultdict[str, list[Intent]] = defaultdict(list)
        self._terms: set[bytes] = set()
        self._dedicated: defaultdict[str, list[Intent]] = defaultdict(list)
        self._watchers: defaultdict[str, set[str]] = defaultdict(set)
        self._defaults: set[str] = set()
        #: Those that are not stored yet, and perhaps never will be: their ids say nothing to anybody.
        self._added: set[str] = set()
        #: An intent that is still monitored, by recipient.
        self._paid_at: dict[str, str] = {}

    def load(self, intents: Sequence[Intent]) -> None:
        """Load what the database has of the references, terms and recipients of these intents."""
        self._read_references({reference_key_of(intent) for intent in intents})
        labels = {key for intent in intents for key in _reference_keys(intent)}
        for key, found in intent_store.intents_by_label(self._connection, labels).items():
            self._by_label[key] = found
        self._read_terms({intent.terms_hash for intent in intents})
        self._read_recipients({intent.recipient for intent in intents})
        self._read_paid_recipients(
            {intent.recipient for intent in intents if intent.match is Match.RECIPIENT}
        )

    def reference_owner(self, intent: Intent) -> str | None:
        """Say who has the intent's reference: an intent of its merchant, or one that is paid at the same
        recipient.

        The latter also when it only answers to what payers may write instead: the money would be its.
        """
        own = self._references.get(reference_key_of(intent))
        if own is not None:
            return self._name(own)
        for key in _reference_keys(intent):
            for other in self._by_label.get(key, ()):
                if other.recipient == intent.recipient:
                    # Another merchant's intent is not named.
                    mine = other.merchant == intent.merchant
                    return self._name(other.id) if mine else "another merchant at this recipient"
        return None

    def check(self, intent: Intent) -> None:
        """Raise :class:`Refused` when its terms or its recipient are taken.

        The recipient is this merchant's; a dedicated one is reserved while transfers to it may belong to its
        intent.
        """
        if intent.terms_hash in self._terms:
            same = "amount, expiry, recipient, asset and salt"
            message = f"an intent with the same {same} exists; choose another salt"
            raise Refused("terms_taken", errors=[{"field": "salt", "message": message}])
        where = intent.recipient
        for other in self._dedicated.get(where, ()):
            if other.monitored_until >= self._time:
                whom = (
                    self._name(other.id) if other.merchant == intent.merchant else "another merchant's intent"
                )
                raise merchants.recipient_in_use(where, f"is dedicated to {whom}")
        watchers = self._watchers.get(where)
        if watchers and intent.merchant not in watchers:
            raise merchants.recipient_in_use(where, "is an address of another merchant")
        if intent.match is not Match.RECIPIENT:
            return
        if where in self._defaults:
            raise merchants.recipient_in_use(where, "is a merchant's default recipient")
        if where in self._paid_at:
            raise merchants.recipient_in_use(where, f"is the recipient of {self._name(self._paid_at[where])}")

    def reserve(self, intent: Intent) -> None:
        """Reserve this intent's reference, terms and recipient."""
        self._added.add(intent.id)
        self._references[reference_key_of(intent)] = intent.id
        for key in label_keys_of(intent):
            self._by_label[key].append(intent)
        self._terms.add(intent.terms_hash)
        if intent.match is Match.RECIPIENT:
            self._dedicated[intent.recipient].append(intent)
        self._watchers[intent.recipient].add(intent.merchant)
        if intent.monitored_until >= self._time:
            self._paid_at.setdefault(intent.recipient, intent.id)

    def _name(self, intent_id: str) -> str:
        return "another intent of this request" if intent_id in self._added else intent_id

    def _read_references(self, keys: Collection[str]) -> None:
        for batch in chunks(sorted(keys)):
            rows = self._connection.execute(_REFERENCES, {"merchant": self._merchant, "keys": batch})
            self._references |= {row.reference_key: row.id for row in rows}

    def _read_terms(self, hashes: Collection[bytes]) -> None:
        for batch in chunks(sorted(hashes)):
            found = self._connection.execute(_TERMS, {"hashes": batch}).scalars()
            self._terms |= {bytes(terms_hash) for terms_hash in found}

    def _read_recipients(self, principals: Collection[str]) -> None:
        for principal, found in intent_store.dedicated_intents(self._connection, principals).items():
            self._dedicated[principal] = found
        for batch in chunks(sorted(principals)):
            for row in self._connection.execute(_WATCHERS, {"principals": batch}):
                self._watchers[row.principal].add(row.merchant_id)

    def _read_paid_recipients(self, principals: Collection[str]) -> None:
        """Read who else is paid at recipients that are to be dedicated."""
        table = intent_table.c
        until = table.expires_at + table.inclusion_grace + table.monitoring
        for batch in chunks(sorted(principals)):
            defaults = select(merchant_table.c.recipient).where(merchant_table.c.recipient.in_(batch))
            self._defaults |= set(self._connection.execute(defaults).scalars())
            paid = select(table.recipient, func.min(table.id).label("id")).where(
                table.recipient.in_(batch), until >= self._time
            )
            rows = self._connection.execute(paid.group_by(table.recipient))
            self._paid_at |= {row.recipient: row.id for row in rows}


def _reference_keys(intent: Intent) -> tuple[str, ...]:
    """Return the label keys of a payer who writes the intent's reference."""
    return label_keys(intent.reference.encode(), None)
