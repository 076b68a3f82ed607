"""Merchants and their API keys: what is stored, and the services for operators.

Defaults that are None mean *as the settings say*. A recipient is never unwatched: transfers to a former one
are stored.
"""

import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher.config.settings import Settings
from watcher.errors import NotFound, Problems, Refused
from watcher.schemas import AddApiKey, ChangeMerchant, NewMerchant, Page, RotateKey, serialize
from watcher.schemas.fields import serialize_level
from watcher.services import api_keys
from watcher.services.context import Context, Document
from watcher.store import intents as intent_store
from watcher.store.chain_state import load_cursor
from watcher.store.pagination import fetch_page
from watcher.store.schema import merchant, recipient


def add(
    connection: Connection,
    settings: Settings,
    request: NewMerchant,
    *,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Mapping[str, Any], str]:
    """Store a merchant and watch their recipient; return their row and their API key, which is not kept.

    Raises :class:`Refused` (``validation``, ``recipient_in_use``).
    """
    values = _values(settings, request)
    load_cursor(connection, lock=True)  # no intent takes the recipient for itself meanwhile
    check_not_dedicated(connection, values["recipient"])
    merchant_id = new_id("mer_", now, entropy)
    connection.execute(
        insert(merchant).values(
            id=merchant_id, status="active", created_at=int(now), updated_at=int(now), **values
        )
    )
    intent_store.watch(connection, values["recipient"], merchant_id)
    _, key = api_keys.add(connection, settings.network, merchant_id, AddApiKey(), now=now, entropy=entropy)
    return find(connection, merchant_id), key


def find(connection: Connection, merchant_id: str, *, lock: bool = False) -> Mapping[str, Any]:
    """Return a merchant's row; ``lock`` holds it until the transaction ends. Raises :class:`NotFound`."""
    query = select(merchant).where(merchant.c.id == merchant_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no merchant {merchant_id}", hint="sbtc-watcher merchants list shows them")
    return {str(key): value for key, value in row.items()}


def change(
    connection: Connection, settings: Settings, merchant_id: str, request: ChangeMerchant, *, now: float
) -> Mapping[str, Any]:
    """Change what is given and return the row; intents keep what they were created with.

    Raises :class:`NotFound`, :class:`Refused` (``validation``, ``recipient_in_use``).
    """
    if request.recipient is not None:
        load_cursor(connection, lock=True)  # first, in the lock order of creating an intent
    row = find(connection, merchant_id, lock=True)
    values = _values(settings, request)
    if "recipient" in values and values["recipient"] != row["recipient"]:
        check_not_dedicated(connection, values["recipient"])
        intent_store.watch(connection, values["recipient"], merchant_id)
    connection.execute(
        update(merchant).where(merchant.c.id == merchant_id).values(updated_at=int(now), **values)
    )
    if request.status is not None:
        disable(connection, merchant_id, now)
    return find(connection, merchant_id)


def disable(connection: Connection, merchant_id: str, now: float) -> Mapping[str, Any]:
    """Stop a merchant from creating intents and revoke their keys; open intents go on. Returns the row."""
    find(connection, merchant_id, lock=True)
    connection.execute(
        update(merchant).where(merchant.c.id == merchant_id).values(status="disabled", updated_at=int(now))
    )
    api_keys.retire(connection, merchant_id, now=now)
    return find(connection, merchant_id)


def check_not_dedicated(connection: Connection, principal: str) -> None:
    """Raise :class:`Refused` (``recipient_in_use``) while an intent has this recipient to itself."""
    cursor = load_cursor(connection)
    time = cursor.clock.time if cursor is not None else 0
    for other in intent_store.dedicated_intents(connection, [principal]).get(principal, ()):
        if other.monitored_until >= time:
            raise recipient_in_use(principal, f"is dedicated to {other.id}")


def check_not_of_others(connection: Connection, principal: str, merchant_id: str) -> None:
    """Raise :class:`Refused` (``recipient_in_use``) where other merchants are paid at this address, and this
    one is not.
    """
    watchers = connection.execute(
        select(recipient.c.merchant_id).where(recipient.c.principal == principal)
    ).scalars()
    owners = set(watchers)
    if owners and merchant_id not in owners:
        raise recipient_in_use(principal, "is an address of another merchant")


def recipient_in_use(principal: str, why: str) -> Refused:
    """Return the refusal of a recipient that others use, ``why`` being the rest of the sentence."""
    message = f"{principal} {why}; use an address of its own"
    return Refused("recipient_in_use", errors=[{"field": "recipient", "message": message}])


def _values(settings: Settings, request: NewMerchant | ChangeMerchant) -> dict[str, Any]:
    """Return what a request gives, as the table holds it. Raises :class:`Refused` for what the settings do
    not allow.
    """
    problems = Problems()
    values = {name: getattr(request, name) for name in request.model_fields_set - {"status"}}
    if request.recipient is not None:
        values["recipient"] = problems.read(
            "recipient", lambda text: str(settings.network_facts.parse_principal(text)), request.recipient, ""
        )
    if request.level is not None:
        problems.read("level", settings.parse_level, request.level, request.level)
        values["level"] = serialize_level(request.level)
    if "allowed_origins" in values:
        values["allowed_origins"] = request.allowed_origins or []
    problems.check()
    return values


class MerchantService(Context):
    """Merchants and their keys."""

    def add_merchant(self, request: NewMerchant) -> Document:
        """Add a merchant; return {merchant, api_key, …}."""
        row, key = add(self.connection, self.settings, request, now=self.now)
        return {"merchant": serialize.merchant(row), "api_key": key, "previous_keys_expire_at": None}

    def merchant_of(self, merchant_id: str) -> Document:
        """Return one merchant."""
        return serialize.merchant(find(self.connection, merchant_id))

    def merchants(self, page: Page) -> Document:
        """Return a page of merchants, newest first."""
        self.read_page(page, merchant.c.id, merchant.c.id)
        rows, following = fetch_page(self.connection, select(merchant), merchant, page)
        return {"data": [serialize.merchant(row) for row in rows], "next_cursor": following}

    def change_merchant(self, merchant_id: str, request: ChangeMerchant) -> Document:
        """Change what is given of a merchant, null back to the settings' default."""
        return serialize.merchant(change(self.connection, self.settings, merchant_id, request, now=self.now))

    def rotate_merchant_key(self, merchant_id: str, request: RotateKey) -> Document:
        """Give a merchant a fresh key; the others end at once, or after ``overlap``.

        Return {merchant, api_key, previous_keys_expire_at}; the time is null when they ended at once.
        """
        seconds = request.overlap or 0.0
        network = self.settings.network
        _, key = api_keys.rotate(self.connection, network, merchant_id, overlap=seconds, now=self.now)
        until = api_keys.overlap_end(self.now, seconds)
        return {
            "merchant": self.merchant_of(merchant_id),
            "api_key": key,
            "previous_keys_expire_at": None if until is None else rfc3339(until),
        }

    def merchant_keys(self, merchant_id: str) -> Document:
        """Return all keys that a merchant has or had, newest first, without the keys themselves."""
        find(self.connection, merchant_id)
        rows = api_keys.of_merchant(self.connection, merchant_id)
        return {"data": [api_keys.document(row, now=self.now) for row in rows], "next_cursor": None}

    def add_merchant_key(self, merchant_id: str, request: AddApiKey) -> Document:
        """Give a merchant one more key; return {key, api_key}."""
        network = self.settings.network
        row, key = api_keys.add(self.connection, network, merchant_id, request, now=self.now)
        return {"key": api_keys.document(row, now=self.now), "api_key": key}

    def revoke_merchant_key(self, merchant_id: str, key_id: str) -> Document:
        """Make a key invalid at once and return it."""
        row = api_keys.revoke(self.connection, key_id, now=self.now, merchant_id=merchant_id)
        return api_keys.document(row, now=self.now)
