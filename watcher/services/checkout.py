"""The checkout of an intent, for whoever has its address: what the page shows, and when that changes."""

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, select

from watcher.config.settings import Settings
from watcher.domain import checkout
from watcher.domain.checkout import CheckoutState
from watcher.domain.model import BEFORE_THE_CHAIN, ChainClock, Intent, IntentState, Match
from watcher.domain.payment_links import LinkStatus
from watcher.errors import NotFound
from watcher.schemas import serialize
from watcher.services import merchants, payment_links
from watcher.store import chain_state, day_counts
from watcher.store import intents as intent_store
from watcher.store import payment_links as link_store
from watcher.store.schema import intent as intent_table
from watcher.store.shown_facts import load_shown_facts
from watcher.urls import with_parameters

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,32}", re.ASCII)


def find(connection: Connection, token: str) -> Mapping[Any, Any]:
    """Return the row of the intent whose checkout has this token. Raises :class:`NotFound`."""
    row = intent_store.find_by_token(connection, token) if _TOKEN.fullmatch(token) else None
    if row is None:
        raise NotFound("there is no such checkout", hint="ask the shop for a new link")
    return row


def document(
    connection: Connection, token: str, *, settings: Settings, now: float
) -> tuple[dict[str, Any], list[str]]:
    """Return a checkout's document, and the origins that may frame its page. Raises :class:`NotFound`."""
    row = find(connection, token)
    intent, state = intent_store.read_intent(row), intent_store.read_state(row)
    known = load_shown_facts(connection, [intent.id])[intent.id]
    merchant = merchants.find(connection, intent.merchant)
    clock = _clock(connection)
    shown = serialize.payment_intent(
        intent,
        state,
        known.facts,
        [],
        clock,
        server_info=settings.server_info,
        totals=(known.transfers, known.attempts),
    )
    stage = checkout.checkout_state(intent, state, clock)
    asset = next((one for one in settings.assets.values() if one.identifier == intent.asset_identifier), None)
    # Without its decimals nobody can say how much it is.
    payable = stage in checkout.PAYABLE and asset is not None
    pay = shown["pay"]
    if state.received:
        pay |= {"contract": None}  # it pays the whole amount, and only the rest is owed
    found = {
        name: shown[name]
        for name in (
            *("status", "in_flight", "description", "amount", "fiat", "asset", "asset_identifier"),
            *("amount_received", "amount_missing", "amount_over", "amount_refunded"),
            *("recipient", "payer", "reference", "network", "livemode", "created_at", "expires_at"),
            *("deadline", "succeeded_at", "as_of", "attempts_total"),
        )
    }
    return {
        "object": "checkout",
        "payment_intent": intent.id,
        "state": stage,
        "flags": sorted(state.flags & checkout.SHOWN_FLAGS),
        "merchant": payee(merchant),
        **found,
        "decimals": 0 if asset is None else asset.decimals,
        "confirmations": {name: shown["confirmations"][name] for name in ("required", "reached")},
        "seconds_left": checkout.seconds_left(intent, clock),
        "chain_stalled": checkout.is_stalled(clock, now=now),
        "transfers": [_transfer(one, settings) for one in shown["transfers"]],
        "needs_memo": intent.match is Match.REFERENCE,
        "pay": pay if payable else None,
        "success_url": _success_url(intent.success_url, intent.id) if stage is CheckoutState.PAID else None,
        "cancel_url": None if stage in checkout.UNDER_WAY else intent.cancel_url,
        **_of_link(connection, intent, state, clock, settings, merchant),
        "version": _digest(checkout.version(intent, state, clock, now=now)),
    }, merchant["allowed_origins"]


def payee(merchant: Mapping[str, Any]) -> dict[str, Any]:
    """Return what payers see of a merchant."""
    return {
        "name": merchant["display_name"] or merchant["name"],
        "logo_url": merchant["logo_url"],
        "brand_color": merchant["brand_color"],
        "support_url": merchant["support_url"],
    }


def intent_of(connection: Connection, token: str) -> str:
    """Return the id of the intent whose checkout has this token. Raises :class:`NotFound`."""
    return str(find(connection, token)["id"])


def versions(connection: Connection, ids: Collection[str], *, now: float) -> dict[str, str]:
    """Return the version of each intent's checkout, see :func:`watcher.domain.checkout.version`."""
    clock = _clock(connection)
    query = select(intent_table).where(intent_table.c.id.in_(ids))
    return {
        row["id"]: _digest(
            checkout.version(intent_store.read_intent(row), intent_store.read_state(row), clock, now=now)
        )
        for row in connection.execute(query).mappings()
    }


def _of_link(
    connection: Connection,
    intent: Intent,
    state: IntentState,
    clock: ChainClock,
    settings: Settings,
    merchant: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a checkout says of the payment link that it was started from."""
    row = None if intent.payment_link is None else link_store.find(connection, intent.payment_link)
    if row is None:
        return {"alternatives": [], "payment_link": None}
    count = day_counts.totals_of_links(connection, [row["id"]])[row["id"]]
    status = payment_links.status(row, count, time=clock.time)
    prices = payment_links.prices(row, settings) if merchant["status"] == "active" else ()
    # The intent gives its own use back when another one takes its place.
    switchable = status in (LinkStatus.ACTIVE, LinkStatus.USED_UP) and checkout.can_switch(
        intent, state, clock
    )
    restartable = status is LinkStatus.ACTIVE and row["password_hash"] is None and checkout.can_restart(state)
    ended = state.status in checkout.UNPAID_ENDS
    following = None
    if ended and intent.checkout_token is not None:
        following = link_store.led_to(connection, payment_links.lead_key("checkout", intent.checkout_token))
    next_token = None
    if following is not None:
        next_token = intent_store.load_intents(connection, [following])[following].checkout_token
    return {
        "alternatives": [
            {
                "asset": price.asset,
                "asset_identifier": settings.assets[price.asset].identifier,
                "amount": str(price.amount),
                "decimals": settings.assets[price.asset].decimals,
            }
            for price in prices
            if switchable and price.asset != intent.asset and price.amount is not None
        ],
        "payment_link": {
            "url": settings.server_info.link_url(row["code"]),
            "can_restart": restartable and any(price.asset == intent.asset for price in prices),
            "continued_url": settings.server_info.checkout_url(next_token),
        },
    }


def _success_url(url: str | None, intent_id: str) -> str | None:
    if url is None:
        return None
    return with_parameters(url, {"payment_intent": intent_id, "status": "succeeded"})


def _transfer(shown: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    names = ("tx_id", "status", "amount", "block_height", "block_hash", "block_time", "confirmations")
    url = settings.server_info.transaction_url(shown["tx_id"])
    return {name: shown[name] for name in names} | {"explorer_url": url}


def _clock(connection: Connection) -> ChainClock:
    cursor = chain_state.load_cursor(connection)
    return cursor.clock if cursor is not None else BEFORE_THE_CHAIN


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
