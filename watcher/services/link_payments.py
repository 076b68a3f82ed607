"""What payers do with payment links: look, start a payment, choose another asset, start anew.

Each writes in one open transaction that holds the cursor, so that of two at once the second sees what the
first has done: one payment for one form, and never more uses than a link allows.
"""

from collections.abc import Mapping
from typing import Any

from watcher.domain import checkout as rules
from watcher.domain.day_counts import DayCount
from watcher.domain.model import BEFORE_THE_CHAIN, ChainClock, Intent, IntentState
from watcher.domain.payment_links import LinkStatus, Price
from watcher.domain.payment_links import uses as uses_of
from watcher.errors import NotFound, Refused
from watcher.log import get_logger
from watcher.schemas import Cancel, NewPaymentIntent, StartPayment
from watcher.services import checkout, intent_requests, merchants, passwords, payment_links
from watcher.services.context import Document
from watcher.services.operator_actions import OperatorActionService
from watcher.services.payment_links import lead_key
from watcher.store import chain_state, day_counts
from watcher.store import intents as intent_store
from watcher.store import payment_links as link_store

#: Payments of one link that may be open at the same time: nobody fills the database by starting and never
#: paying.
MAX_OPEN = 5_000

#: Checkouts that are followed from one to the one that took its place.
_MAX_STEPS = 100

#: What a payer is told of a link that cannot be used.
_GONE = {
    LinkStatus.DISABLED: ("link_disabled", "this link is not used any more"),
    LinkStatus.EXPIRED: ("link_expired", "the time of this link is over"),
    LinkStatus.USED_UP: ("link_used_up", "this link was used as often as it may be"),
}

#: Codes of refusals for which the link is gone (410).
GONE = frozenset(code for code, _ in _GONE.values())

log = get_logger(__name__)


class LinkPaymentService(OperatorActionService):
    """What payers do with links. ``actor`` is ``payer``; ``merchant`` None."""

    def link_page(self, code: str, *, unlock: str | None = None) -> tuple[Document, list[str], str]:
        """Return what a payer sees of a link, the origins that may frame it, and its id. Raises
        :class:`NotFound`.

        Of a link with a password that ``unlock`` does not open, it says no more than who is paid.
        """
        row = self._find_code(code)
        merchant = merchants.find(self.connection, row["merchant_id"])
        locked = not self._is_open(row, unlock)
        assets = self.settings.assets
        server = self.settings.server_info
        return (
            {
                "object": "payment_link_page",
                "code": row["code"],
                "url": server.link_url(row["code"]),
                "status": self._status(row, merchant, self._clock()),
                "merchant": checkout.payee(merchant),
                "network": server.network,
                "livemode": server.livemode,
                "has_password": row["password_hash"] is not None,
                "locked": locked,
                "description": None if locked else row["description"],
                "prices": []
                if locked
                else [
                    {
                        "asset": price.asset,
                        "asset_identifier": assets[price.asset].identifier,
                        "decimals": assets[price.asset].decimals,
                        "amount": _text(price.amount),
                        "min_amount": None if price.amount is not None else str(price.least),
                        "max_amount": _text(price.most),
                    }
                    for price in payment_links.prices(row, self.settings)
                ],
                "expires_at": payment_links.expiry(row),
            },
            merchant["allowed_origins"],
            row["id"],
        )

    def password_of(self, code: str) -> tuple[str, str | None]:
        """Return the id of a link and the hash of its password, None for none. Raises :class:`NotFound`."""
        row = self._find_code(code)
        return row["id"], row["password_hash"]

    def start(self, code: str, request: StartPayment, *, known: str | None = None) -> str:
        """Return the token of the checkout to which a payer's form leads: of a new intent, or of the one that
        it has led to before.

        ``known``: the hash of the password that the payer knew, see :meth:`password_of`.

        A form that was sent before and now says another asset or amount takes the place of what it has
        started, as long as nothing was paid or seen; then that stays, and is what it leads to.

        Raises :class:`NotFound`, and :class:`Refused`: ``wrong_password``, ``asset_missing``,
        ``amount_missing``, ``amount_out_of_range``, ``too_many_open``, ``not_payable``, and those in
        :data:`GONE`.
        """
        clock = self._hold()
        row = self._find_code(code)
        merchants.find(self.connection, row["merchant_id"], lock=True)
        if known is None or known != row["password_hash"]:
            self._check_unlocked(row, request.unlock)
        key = None if request.visit is None else lead_key("visit", row["id"], request.visit)
        if key is not None and (standing := self._standing(key, clock)) is not None:
            intent, state = standing
            asset = request.asset or intent.asset
            said = request.amount if payment_links.is_open(row) else None
            same = asset == intent.asset and said in (None, intent.amount)
            if same or not rules.can_switch(intent, state, clock):
                return _token(intent)
            amount = _checked(self._find_price(row, asset), said)
            return self._switch(row, intent, asset, amount, key=key)
        price = self._find_price(row, request.asset)
        amount = _checked(price, request.amount)
        return self._begin(row, price.asset, amount, key=key)

    def switch_checkout(self, token: str, asset: str) -> str:
        """Cancel an intent and make another one of the same link in another asset; return its checkout's
        token.

        Asked again with the same asset, it returns the same one. Raises :class:`NotFound`, and
        :class:`Refused`: ``not_switchable`` when something was paid or seen, or it has ended, and those of
        :meth:`start`.
        """
        clock = self._hold()
        intent, state, row = self._latest(token, clock)
        if intent.asset == asset:
            return _token(intent)
        if not rules.can_switch(intent, state, clock):
            raise Refused("not_switchable", "something was paid or seen already, or it has ended")
        price = self._find_price(row, asset)
        if price.amount is None:
            raise Refused("not_switchable", "the link asks for an open amount now; start from its page")
        return self._switch(row, intent, asset, price.amount)

    def restart_checkout(self, token: str) -> str:
        """Make an intent like one that ended without any money, at the link's present price; return its
        checkout's token.

        Asked again, it returns the same one. Raises :class:`NotFound`, and :class:`Refused`:
        ``not_restartable``, ``wrong_password`` for a link with a password, and those of :meth:`start`.
        """
        clock = self._hold()
        intent, state, row = self._latest(token, clock)
        if state.status not in rules.UNPAID_ENDS:
            return _token(intent)
        if not rules.can_restart(state):
            raise Refused("not_restartable", "this cannot be started anew; ask the shop")
        self._check_unlocked(row, None)
        price = self._find_price(row, intent.asset)
        amount = _checked(price, price.amount if price.amount is not None else intent.amount)
        return self._begin(row, price.asset, amount, key=lead_key("checkout", _token(intent)))

    # What is there

    def _hold(self) -> ChainClock:
        cursor = chain_state.load_cursor(self.connection, lock=True)
        return cursor.clock if cursor is not None else BEFORE_THE_CHAIN

    def _clock(self) -> ChainClock:
        cursor = chain_state.load_cursor(self.connection)
        return cursor.clock if cursor is not None else BEFORE_THE_CHAIN

    def _find_code(self, code: str) -> Mapping[Any, Any]:
        key = payment_links.code_key(code)
        row = None if key is None else link_store.find_by_code(self.connection, key)
        if row is None:
            raise NotFound("there is no such link", hint="ask the shop for a new one")
        return row

    def _find_price(self, row: Mapping[Any, Any], asset: str | None) -> Price:
        prices = payment_links.prices(row, self.settings)
        if asset is None and len(prices) == 1:
            return prices[0]
        found = next((price for price in prices if price.asset == asset), None)
        if found is None:
            names = ", ".join(price.asset for price in prices)
            raise _wrong("asset_missing", "asset", f"choose one of {names}")
        return found

    def _is_open(self, row: Mapping[Any, Any], unlock: str | None) -> bool:
        stored = row["password_hash"]
        if stored is None:
            return True
        return unlock is not None and passwords.is_unlocked(unlock, row["id"], stored, now=self.now)

    def _check_unlocked(self, row: Mapping[Any, Any], unlock: str | None) -> None:
        if not self._is_open(row, unlock):
            raise _wrong("wrong_password", "password", "is needed, and this one is not right")

    def _status(self, row: Mapping[Any, Any], merchant: Mapping[str, Any], clock: ChainClock) -> LinkStatus:
        if merchant["status"] != "active":
            return LinkStatus.DISABLED
        return payment_links.status(row, self._count(row), time=clock.time)

    def _count(self, row: Mapping[Any, Any]) -> DayCount:
        return day_counts.totals_of_links(self.connection, [row["id"]])[row["id"]]

    def _standing(self, key: bytes, clock: ChainClock) -> tuple[Intent, IntentState] | None:
        """Return the intent that a form has led to, if it can still be paid, or was paid."""
        first = link_store.led_to(self.connection, key)
        if first is None:
            return None
        intent, state = self._settled(self._follow(self._load(first)).id, clock)
        return None if state.status in rules.UNPAID_ENDS else (intent, state)

    def _settled(self, intent_id: str, clock: ChainClock) -> tuple[Intent, IntentState]:
        self.settler.settle(self.connection, [intent_id], clock, now=self.now)
        row = intent_store.load_rows(self.connection, [intent_id])[intent_id]
        return intent_store.read_intent(row), intent_store.read_state(row)

    def _latest(self, token: str, clock: ChainClock) -> tuple[Intent, IntentState, Mapping[Any, Any]]:
        """Return what has taken the place of a checkout's intent, or itself, and the link."""
        intent = intent_store.read_intent(checkout.find(self.connection, token))
        if intent.payment_link is None:
            raise Refused("not_switchable", "it was not started from a link")
        intent = self._follow(intent)
        row = link_store.find(self.connection, str(intent.payment_link))
        assert row is not None, "links are never deleted"
        merchants.find(self.connection, row["merchant_id"], lock=True)
        return *self._settled(intent.id, clock), row

    def _follow(self, intent: Intent) -> Intent:
        """Return the intent that has taken the place of one, the one of that, and so on."""
        for _ in range(_MAX_STEPS):
            following = link_store.led_to(self.connection, lead_key("checkout", _token(intent)))
            if following is None:
                break
            intent = self._load(following)
        return intent

    def _load(self, intent_id: str) -> Intent:
        return intent_store.load_intents(self.connection, [intent_id])[intent_id]

    # What is done

    def _switch(
        self, row: Mapping[Any, Any], old: Intent, asset: str, amount: int, *, key: bytes | None = None
    ) -> str:
        """Cancel an intent and begin another one, which its checkout and ``key`` lead to."""
        self.cancel_intent(old.id, Cancel(reason=f"{amount} of {asset} instead"))
        token = self._begin(row, asset, amount, key=key)
        self._remember(lead_key("checkout", _token(old)), token)
        return token

    def _begin(self, row: Mapping[Any, Any], asset: str, amount: int, *, key: bytes | None) -> str:
        """Create an intent of a link, which ``key`` leads to; return its checkout's token."""
        merchant = merchants.find(self.connection, row["merchant_id"], lock=True)
        status = self._status(row, merchant, self._clock())
        if status is not LinkStatus.ACTIVE:
            raise Refused(*_GONE[status])
        count = self._count(row)
        if uses_of(count) - count.succeeded >= MAX_OPEN:
            raise Refused("too_many_open", "too many payments of this link are open; try again later")
        given = {
            "amount": amount,
            "asset": asset,
            "recipient": row["recipient"],
            "level": row["level"],
            "metadata": row["metadata"],
            "description": row["description"],
            "success_url": row["success_url"],
            "cancel_url": row["cancel_url"],
            # The merchant's own may be more than a small amount.
            "tolerance": None if (merchant["tolerance"] or 0) < amount else 0,
        }
        request = NewPaymentIntent.of({name: value for name, value in given.items() if value is not None})
        try:
            intent_id = intent_requests.create(
                self.connection,
                request,
                merchant_id=row["merchant_id"],
                settings=self.settings,
                settler=self.settler,
                now=self.now,
                payment_link=row["id"],
            )
        except Refused as refused:
            log.warning("link.not_payable", link=row["id"], reason=str(refused))
            raise Refused("not_payable", "this cannot be paid at the moment; ask the shop") from refused
        token = _token(self._load(intent_id))
        if key is not None:
            link_store.lead_to(self.connection, key, intent_id, now=self.now)
        return token

    def _remember(self, key: bytes, token: str) -> None:
        link_store.lead_to(self.connection, key, checkout.intent_of(self.connection, token), now=self.now)


def _token(intent: Intent) -> str:
    assert intent.checkout_token is not None, "every intent has one"
    return intent.checkout_token


def _checked(price: Price, amount: int | None) -> int:
    """Return the amount to pay. Raises :class:`Refused`."""
    if price.amount is not None:
        return price.amount
    if amount is None:
        raise _wrong("amount_missing", "amount", "is missing; say how much you pay")
    if not price.allows(amount):
        most = "" if price.most is None else f" and at most {price.most}"
        raise _wrong("amount_out_of_range", "amount", f"must be at least {price.least}{most}")
    return amount


def _wrong(code: str, field: str, message: str) -> Refused:
    return Refused(code, errors=[{"field": field, "message": message}])


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
