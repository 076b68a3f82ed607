"""Payment links: what merchants do with them."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher.config.settings import Settings
from watcher.domain import payment_links as rules
from watcher.domain.clocks import Clocks
from watcher.domain.day_counts import DayCount, day_of
from watcher.domain.matching import reference_key
from watcher.domain.model import BEFORE_THE_CHAIN
from watcher.domain.payment_links import LinkStatus, Price
from watcher.domain.server_info import ServerInfo
from watcher.errors import NotFound, Problems, Refused
from watcher.schemas import ChangePaymentLink, LinkDays, NewPaymentLink, OwnedPage
from watcher.schemas.fields import serialize_level
from watcher.services import merchants
from watcher.services.context import Context, Document
from watcher.services.intent_requests import random_reference
from watcher.services.statistics import date_of
from watcher.store import chain_state, day_counts, link_views
from watcher.store import payment_links as link_store
from watcher.store.link_schema import payment_link
from watcher.store.pagination import fetch_page
from watcher.text import quote

#: What a link's amount can be said by: one of these groups.
_ONE_ASSET = ("amount", "min_amount", "max_amount", "asset")

_CODE = re.compile(r"[0-9A-Z]{12}", re.ASCII)
#: Characters of a code with hyphens and spaces.
_MAX_CODE_LENGTH = 40

#: A second draw of a code is rare; a tenth means that the randomness is broken.
_MAX_DRAWS = 10


class PaymentLinkService(Context):
    """Payment links."""

    def create_link(self, request: NewPaymentLink, *, password_hash: str | None = None) -> Document:
        """Create a link and return it. ``password_hash``: of the request's password, see
        :func:`watcher.services.passwords.hash_password`.
        """
        merchant = merchants.find(self.connection, self.owner(request.merchant), lock=True)
        if merchant["status"] != "active":
            raise Refused("merchant_disabled", f"merchant {merchant['id']} is disabled and takes no payments")
        given = _given(request, password_hash)
        values = dict.fromkeys(_COLUMNS) | given
        if values["asset"] is None and values["prices"] is None:
            values["asset"] = "sbtc"
        values["metadata"] = values["metadata"] or {}
        self._check_link(values, given, merchant["id"])
        link_id = new_id("pl_", self.now)
        link_store.add(
            self.connection,
            values
            | {
                "id": link_id,
                "merchant_id": merchant["id"],
                "code": _free_code(self.connection),
                "active": True,
                "created_at": int(self.now),
                "updated_at": int(self.now),
            },
        )
        return self.link(link_id)

    def link(self, link_id: str) -> Document:
        """Return one link."""
        return self._documents([self._find_link(link_id)])[0]

    def links(self, page: OwnedPage) -> Document:
        """Return a page of links, newest first."""
        merchant = self.read_page(page, payment_link.c.id, payment_link.c.merchant_id)
        query = select(payment_link)
        if merchant is not None:
            query = query.where(payment_link.c.merchant_id == merchant)
        rows, following = fetch_page(self.connection, query, payment_link, page)
        return {"data": self._documents(rows), "next_cursor": following}

    def change_link(
        self, link_id: str, request: ChangePaymentLink, *, password_hash: str | None = None
    ) -> Document:
        """Change what is given of a link, and return it; payments that were started keep their terms.

        An amount replaces prices and the other way round.
        """
        row = self._find_link(link_id, lock=True)
        given = _given(request, password_hash)
        values = {name: row[name] for name in _COLUMNS} | _replaced(given) | given
        if values["asset"] is None and values["prices"] is None:
            values["asset"] = "sbtc"
        values["metadata"] = values["metadata"] or {}
        self._check_link(values, given, row["merchant_id"])
        if request.active is not None:
            values["active"] = request.active
        link_store.change(self.connection, link_id, values | {"updated_at": int(self.now)})
        return self.link(link_id)

    def link_statistics(self, link_id: str, request: LinkDays) -> Document:
        """Return what became of a link: totals, and its newest days."""
        self._find_link(link_id)
        counts = day_counts.of_link(self.connection, link_id)
        views = link_views.days(self.connection, link_id)
        cursor = chain_state.load_cursor(self.connection)
        today = day_of(max(self.now, cursor.clock.time if cursor is not None else 0))
        total = sum(counts.values(), DayCount())
        assets = sorted({asset for (_, asset), count in counts.items() if count.paid})
        return {
            "object": "payment_link_statistics",
            "payment_link": link_id,
            "views": sum(views.values()),
            "started": total.created,
            "open": rules.uses(total) - total.succeeded,
            "paid": total.succeeded,
            "expired": total.expired,
            "abandoned": total.abandoned,
            "failed": total.failed,
            "canceled": total.canceled,
            "amounts": {
                name: str(sum(count.received for (_, asset), count in counts.items() if asset == name))
                for name in assets
            },
            "decimals": {
                name: self.settings.assets[name].decimals for name in assets if name in self.settings.assets
            },
            "days": [
                _day(
                    day,
                    views.get(day, 0),
                    {asset: count for (on, asset), count in counts.items() if on == day},
                )
                for day in range(today - request.days + 1, today + 1)
            ],
        }

    def _find_link(self, link_id: str, *, lock: bool = False) -> Mapping[Any, Any]:
        row = link_store.find(self.connection, link_id, lock=lock)
        if row is None or self.merchant not in (None, row["merchant_id"]):
            raise NotFound(f"no link {link_id}", hint="sbtc-watcher links list shows them")
        return row

    def _documents(self, rows: Any) -> list[Document]:
        cursor = chain_state.load_cursor(self.connection)
        time = (cursor.clock if cursor is not None else BEFORE_THE_CHAIN).time
        counts = day_counts.totals_of_links(self.connection, [row["id"] for row in rows])
        return [
            document(row, counts[row["id"]], time=time, server_info=self.settings.server_info) for row in rows
        ]

    def _check_link(self, values: Mapping[str, Any], given: Mapping[str, Any], merchant: str) -> None:
        """Raise :class:`Refused` with everything that does not go together, or not with the settings."""
        problems = Problems()
        _check_amounts(problems, values, self.settings)
        if given.get("level") is not None:
            problems.read("level", self.settings.parse_level, given["level"], None)
        if given.get("recipient") is not None:
            read = self.settings.network_facts.parse_principal
            problems.read("recipient", lambda text: str(read(text)), given["recipient"], "")
        if given.get("expires_at") is not None:
            _check_expiry(problems, given["expires_at"], self._clocks())
        problems.check()
        if given.get("recipient") is not None:
            merchants.check_not_dedicated(self.connection, given["recipient"])
            merchants.check_not_of_others(self.connection, given["recipient"], merchant)

    def _clocks(self) -> Clocks:
        cursor = chain_state.load_cursor(self.connection)
        if cursor is None:
            return Clocks(machine=self.now)
        return Clocks(machine=self.now, chain=cursor.clock.time, tip=cursor.tip_time)


#: The columns that requests name.
_COLUMNS = (*(ChangePaymentLink.model_fields.keys() - {"password", "active"}), "password_hash")


def document(row: Mapping[Any, Any], count: DayCount, *, time: int, server_info: ServerInfo) -> Document:
    """Return the public document of a link at a time of the chain; ``count`` is of its intents."""
    return {
        "id": row["id"],
        "object": "payment_link",
        "merchant": row["merchant_id"],
        "url": server_info.link_url(row["code"]),
        "active": row["active"],
        "status": status(row, count, time=time),
        "amount": _text(row["amount"]),
        "min_amount": _text(row["min_amount"]),
        "max_amount": _text(row["max_amount"]),
        "asset": row["asset"],
        "prices": row["prices"],
        "description": row["description"],
        "metadata": row["metadata"],
        "expires_at": expiry(row),
        "max_uses": row["max_uses"],
        "uses": rules.uses(count),
        "has_password": row["password_hash"] is not None,
        "level": row["level"],
        "recipient": row["recipient"],
        "success_url": row["success_url"],
        "cancel_url": row["cancel_url"],
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
    }


def status(row: Mapping[Any, Any], count: DayCount, *, time: int) -> LinkStatus:
    """Return whether a link can be used at a time of the chain."""
    return rules.link_status(
        active=row["active"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        uses=rules.uses(count),
        time=time,
    )


def prices(row: Mapping[Any, Any], settings: Settings) -> tuple[Price, ...]:
    """Return what may be paid with a link, in the merchant's order."""
    return rules.prices_of(
        amount=row["amount"],
        asset=row["asset"],
        least=row["min_amount"],
        most=row["max_amount"],
        prices=None if row["prices"] is None else {name: int(text) for name, text in row["prices"].items()},
        known=settings.assets,
    )


def is_open(row: Mapping[Any, Any]) -> bool:
    """Return whether the payer says how much."""
    return row["amount"] is None and row["prices"] is None


def lead_key(kind: str, *texts: str) -> bytes:
    """Return the hash by which it is found what a form or a checkout (the ``kind``) has led to."""
    return hashlib.sha256(" ".join((kind, *texts)).encode()).digest()


def expiry(row: Mapping[Any, Any]) -> str | None:
    """Return when a link ends, as documents have it."""
    return None if row["expires_at"] is None else rfc3339(row["expires_at"])


def code_key(code: str) -> str | None:
    """Return the form in which codes are compared: as people type them, look-alikes folded. None for what
    is none.
    """
    key = reference_key(code[:_MAX_CODE_LENGTH], generated=True)
    return key if _CODE.fullmatch(key) else None


def _free_code(connection: Connection, entropy: Entropy = os.urandom) -> str:
    """Return a code that no link has.

    It has 60 bits: short enough to be read out and printed, and out of reach of guesses, each of which is a
    request that the limits count. What it leads to is public; a password is for what is not.
    """
    for _ in range(_MAX_DRAWS):
        code = random_reference(entropy)
        if link_store.find_by_code(connection, code) is None:
            return code
    raise RuntimeError(f"{_MAX_DRAWS} random codes were all in use: the source of randomness is broken")


def _given(request: NewPaymentLink | ChangePaymentLink, password_hash: str | None) -> dict[str, Any]:
    """Return what a request gives, as the table holds it."""
    names = request.model_fields_set - {"merchant", "active", "password"}
    values = {name: getattr(request, name) for name in names}
    if "password" in request.model_fields_set:
        assert (request.password is None) == (password_hash is None), "hashed before the transaction"
        values["password_hash"] = password_hash
    if values.get("level") is not None:
        values["level"] = serialize_level(values["level"])
    if values.get("prices") is not None:
        values["prices"] = {name: str(amount) for name, amount in values["prices"].items()}
    return values


def _replaced(given: Mapping[str, Any]) -> dict[str, None]:
    """Return what a change takes the place of."""
    if given.get("prices") is not None:
        return dict.fromkeys(_ONE_ASSET)
    if given.get("amount") is not None:
        return dict.fromkeys(("min_amount", "max_amount", "prices"))
    if any(given.get(name) is not None for name in _ONE_ASSET):
        return {"prices": None}
    return {}


def _check_amounts(problems: Problems, values: Mapping[str, Any], settings: Settings) -> None:
    named = values["prices"] if values["prices"] is not None else [values["asset"]]
    field = "asset" if values["prices"] is None else "prices"
    for name in named:
        if name not in settings.assets:
            known = ", ".join(settings.assets)
            problems.add(field, f"{quote(name)} is not an asset of the settings; write {known}")
    if values["prices"] is not None and any(values[name] is not None for name in _ONE_ASSET):
        problems.add("prices", "stand instead of amount, min_amount, max_amount and asset; give one of both")
        return
    least, most = values["min_amount"], values["max_amount"]
    if values["amount"] is not None:
        for name in ("min_amount", "max_amount"):
            if values[name] is not None:
                problems.add(name, "is for an open amount; leave it or amount out")
    elif least is not None and most is not None and least > most:
        problems.add("max_amount", f"{most} is below min_amount, {least}; give a larger one")


def _check_expiry(problems: Problems, moment: int, clocks: Clocks) -> None:
    if moment <= clocks.machine:
        problems.add("expires_at", "is not ahead of this machine's clock; give a later time")
    elif moment <= clocks.later:
        newest = rfc3339(clocks.later)
        problems.add(
            "expires_at", f"is not ahead of the chain, whose newest block is of {newest}; give a later time"
        )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _day(day: int, views: int, counts: Mapping[str, DayCount]) -> Document:
    """Return a day of the statistics; ``counts`` are by asset."""
    return {
        "date": date_of(day),
        "views": views,
        "started": sum(count.created for count in counts.values()),
        "paid": sum(count.paid for count in counts.values()),
        "amounts": {asset: str(count.received) for asset, count in counts.items() if count.paid},
    }
