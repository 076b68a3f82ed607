"""The desk for merchants, which is an operator's."""

from typing import Any

from notifier.events import rfc3339
from watcher import api_keys, merchants, views
from watcher.desk.base import Base, Document, fields_of, read
from watcher.durations import parse_duration
from watcher.errors import Refused
from watcher.tables import merchant

_FIELDS = ("name", "recipient", "level", "ttl", "tolerance", "late_policy")


class MerchantDesk(Base):
    """Merchants and their keys."""

    def add_merchant(self, document: object) -> Document:
        """Add a merchant of {name, recipient, level, ttl, tolerance, late_policy}; return {merchant, api_key, …}."""
        given = fields_of(document, *_FIELDS, required=("name", "recipient"))
        row, key = merchants.add(
            self.connection,
            self.settings,
            name=given["name"],
            recipient=given["recipient"],
            level=given.get("level"),
            ttl=given.get("ttl"),
            tolerance=given.get("tolerance"),
            late_policy=given.get("late_policy"),
            now=self.now,
        )
        return {"merchant": views.merchant(row), "api_key": key, "previous_keys_expire_at": None}

    def merchant_of(self, merchant_id: str) -> Document:
        """Return one merchant."""
        return views.merchant(merchants.find(self.connection, merchant_id))

    def merchants(self, *, limit: int = 20, cursor: str | None = None) -> Document:
        """Return a page of merchants, newest first."""
        self.check_cursor(cursor, merchant.c.id, merchant.c.id, self.merchant)
        rows, following = merchants.page(self.connection, limit=limit, cursor=cursor)
        return {"data": [views.merchant(row) for row in rows], "next_cursor": following}

    def change_merchant(self, merchant_id: str, document: object) -> Document:
        """Change what is given of a merchant, null back to the settings' default; ``status`` can become disabled."""
        given = dict(fields_of(document, *_FIELDS, "status"))
        for name in ("name", "recipient"):
            if name in given and given[name] is None:
                raise Refused("validation", errors=[{"field": name, "message": "is needed"}])
        status = given.pop("status", None)
        if status not in (None, "disabled"):
            message = "can only become disabled; open intents go on"
            raise Refused("validation", errors=[{"field": "status", "message": message}])
        row: Any = merchants.change(self.connection, self.settings, merchant_id, now=self.now, **given)
        if status is not None:
            row = merchants.disable(self.connection, merchant_id, self.now)
        return views.merchant(row)

    def rotate_merchant_key(self, merchant_id: str, document: object = None) -> Document:
        """Give a merchant a fresh key; the others end at once, or after ``overlap``.

        Return {merchant, api_key, previous_keys_expire_at}; the time is null when they ended at once.
        """
        given = fields_of(document, "overlap")
        overlap = given.get("overlap")
        seconds = 0.0 if overlap is None else read("overlap", parse_duration, overlap)
        key = merchants.rotate_key(self.connection, self.settings, merchant_id, self.now, seconds)
        until = api_keys.overlap_end(self.now, seconds)
        return {
            "merchant": self.merchant_of(merchant_id),
            "api_key": key,
            "previous_keys_expire_at": None if until is None else rfc3339(until),
        }

    def merchant_keys(self, merchant_id: str) -> Document:
        """Return all keys that a merchant has or had, newest first, without the keys themselves."""
        merchants.find(self.connection, merchant_id)
        rows = api_keys.of_merchant(self.connection, merchant_id)
        return {"data": [api_keys.document(row, now=self.now) for row in rows], "next_cursor": None}

    def add_merchant_key(self, merchant_id: str, document: object = None) -> Document:
        """Give a merchant one more key, with a ``name`` and ``scopes``; return {key, api_key}."""
        given = fields_of(document, "name", "scopes")
        name, scopes = given.get("name"), given.get("scopes")
        row, key = api_keys.add(
            self.connection,
            self.settings.network,
            merchant_id,
            name=api_keys.DEFAULT_NAME if name is None else name,
            scopes=api_keys.ALL_SCOPES if scopes is None else scopes,
            now=self.now,
        )
        return {"key": api_keys.document(row, now=self.now), "api_key": key}

    def revoke_merchant_key(self, merchant_id: str, key_id: str, document: object = None) -> Document:
        """Make a key invalid at once and return it."""
        fields_of(document)
        row = api_keys.revoke(self.connection, key_id, now=self.now, merchant_id=merchant_id)
        return api_keys.document(row, now=self.now)
