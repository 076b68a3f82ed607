"""The checkout page of an intent, from its document."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from watcher.domain.checkout import CheckoutState
from watcher.web import amounts, assets, texts, wallets
from watcher.web.codes import code
from watcher.web.page import Page
from watcher.web.payer_page import PayerView, payer_page

#: Seconds after which a page without scripts looks again.
RELOAD_SECONDS = 15

#: Left seconds below which the page counts them.
URGENT_SECONDS = 300

#: In these nothing changes any more unless money comes.
_ENDED = frozenset({CheckoutState.PAID, CheckoutState.EXPIRED, CheckoutState.FAILED, CheckoutState.CANCELED})
#: In these the payer has paid, or is still to do so.
_NOT_LEFT = frozenset({CheckoutState.WAITING, CheckoutState.UNDERPAID})
#: Of the three steps, how many are done.
_STEPS = {CheckoutState.SEEN: 1, CheckoutState.CONFIRMING: 1, CheckoutState.PAID: 3}


def checkout_page(
    document: Mapping[str, Any],
    *,
    url: str | None,
    origins: Sequence[str] = (),
    language: str = texts.DEFAULT,
    unchanged: bool = False,
) -> Page:
    """Return the page of a checkout.

    ``url``: its own address, for a phone; None where it is not known. ``origins`` may frame it.
    ``unchanged``: it says that what the payer asked for was not done.
    """
    return payer_page(
        "checkout.html",
        _View(document, url, language, unchanged),
        origins=origins,
        forms=document["payment_link"] is not None,
    )


class _View(PayerView):
    """What the template asks for, beside the document itself as ``it``."""

    def __init__(self, document: Mapping[str, Any], url: str | None, language: str, unchanged: bool) -> None:
        super().__init__(document, language)
        self.unchanged = unchanged
        self.state = CheckoutState(document["state"])
        #: In a sentence: whatever it does to the direction of writing ends with it.
        self.told_name = Markup("<bdi>{}</bdi>").format(self.name)
        self.url = url
        self.symbol = amounts.symbol(document["asset"])
        self.script = assets.name_of("checkout.js")
        self.reload = RELOAD_SECONDS
        self.ended = self.state in _ENDED
        self.may_leave = self.state in _NOT_LEFT
        self.done = _STEPS.get(self.state, 0)

    # Amounts

    def money(self, field: str) -> str:
        """Return an amount of the document with its symbol, to be read."""
        return self.sum(self.it[field])

    def sum(self, units: str) -> str:
        """Return base units as an amount with its symbol, to be read."""
        return amounts.with_symbol(int(units), self.it["decimals"], self.it["asset"], self.language)

    def written(self, units: str) -> str:
        """Return base units as a decimal number, to be read."""
        return amounts.written(self.copied(units), self.language)

    def copied(self, units: str) -> str:
        """Return base units as a decimal number, to be copied into a wallet."""
        return amounts.decimal(int(units), self.it["decimals"])

    @property
    def due(self) -> str:
        """What is to be paid now, base units."""
        return str(self.it["amount_missing" if self.state is CheckoutState.UNDERPAID else "amount"])

    @property
    def sats(self) -> str | None:
        return amounts.in_sats(int(self.due), self.it["asset"], self.language)

    @property
    def price(self) -> str | None:
        """What is to be paid now, or was, in money of a state."""
        if self.it["fiat"] is None:
            return None
        share = amounts.share(self.it["fiat"], int(self.due), int(self.it["amount"]))
        return amounts.price(share, self.language)

    @property
    def rate(self) -> Markup:
        """What the price counts with, and how long it holds."""
        rate = amounts.rate(self.it["fiat"], int(self.it["amount"]), self.it["decimals"])
        return texts.markup(
            self.language,
            "rate",
            symbol=self.symbol,
            rate=amounts.price(rate, self.language),
            created=self.time(self.it["created_at"]),
            expires=self.time(self.it["expires_at"]),
        )

    # The link that it was started from

    @property
    def alternatives(self) -> list[tuple[str, str]]:
        """Other assets that the payer may choose, each with its price."""
        return [
            (
                one["asset"],
                amounts.with_symbol(int(one["amount"]), one["decimals"], one["asset"], self.language),
            )
            for one in self.it["alternatives"]
        ]

    @property
    def continued_url(self) -> str | None:
        """The checkout that took its place."""
        link = self.it["payment_link"]
        return None if link is None else link["continued_url"]

    @property
    def can_restart(self) -> bool:
        """Whether the payer may start anew here."""
        link = self.it["payment_link"]
        return link is not None and bool(link["can_restart"]) and self.continued_url is None

    # Words

    @property
    def heading(self) -> str:
        """The state in a few words."""
        return texts.say(self.language, "state.reorged" if self.is_undone else f"state.{self.state}")

    @property
    def is_undone(self) -> bool:
        """Whether a reorg took what was the payment, and it may come back."""
        return self.state is CheckoutState.CONFIRMING and "reorged" in self.it["flags"]

    @property
    def explanation(self) -> Markup:
        """What the state means for the payer, in a sentence."""
        key = "note.reorged" if self.is_undone else f"say.{self.state}"
        if self.state is CheckoutState.EXPIRED and (self.can_restart or self.continued_url is not None):
            key = "say.expired_again"
        if self.state is CheckoutState.EXPIRED and self.it["amount_received"] != "0":
            key = "say.expired_late" if "late" in self.it["flags"] else "say.expired_partly"
        if self.state is CheckoutState.FAILED and "reorged" in self.it["flags"]:
            key = "say.failed_reorged"
        if self.state is CheckoutState.CANCELED and self.continued_url is not None:
            key = "say.switched"
        return self._say(key)

    @property
    def notes(self) -> list[Markup]:
        """What else there is to say: several can be true at once."""
        flags, paid = self.it["flags"], self.state is CheckoutState.PAID
        told = [
            ("note.unchanged", self.unchanged),
            ("link.error.not_payable", self.it["pay"] is None and self.state in _NOT_LEFT),
            ("note.reorged", self.it["pay"] is not None and self._lost_transfers()),
            ("note.late_accepted" if paid else "note.late", "late" in flags),
            ("note.overpaid", self.it["amount_over"] != "0"),
            ("note.refund_due", "refund_due" in flags),
            ("note.refunded", self.it["amount_refunded"] != "0"),
            ("note.attempts", self.it["attempts_total"] > 0 and self.it["pay"] is not None),
        ]
        return [self._say(key) for key, true in told if true]

    @property
    def depth(self) -> list[str]:
        """How deep the payment is, and how deep it must be."""
        required, reached = self.it["confirmations"]["required"], self.it["confirmations"]["reached"]
        if self.state is not CheckoutState.CONFIRMING or reached is None:
            return []
        told = [
            texts.say(
                self.language,
                f"confirming.{chain}",
                reached=min(reached[chain], required[chain]),
                n=required[chain],
            )
            for chain in ("bitcoin", "stacks")
            if required[chain] > (0 if chain == "bitcoin" else 1)
        ]
        if required["bitcoin"]:
            told.append(self._say("confirming.why"))
        return told + ([self._say("confirming.unverified")] if "unverified" in self.it["flags"] else [])

    @property
    def progress(self) -> tuple[int, int] | None:
        """Blocks reached and required, for a bar; None where there is nothing to count."""
        required, reached = self.it["confirmations"]["required"], self.it["confirmations"]["reached"]
        if self.state is not CheckoutState.CONFIRMING or reached is None:
            return None
        whole = required["bitcoin"] or required["stacks"]
        return min(reached["bitcoin" if required["bitcoin"] else "stacks"], whole), whole

    @property
    def left(self) -> str:
        """How long it may still be paid, by the chain's clock."""
        seconds = self.it["seconds_left"]
        for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
            if seconds >= (2 * length if unit != "minutes" else length):
                return texts.say(self.language, f"left.{unit}", n=seconds // length)
        return texts.say(self.language, "left.moment")

    @property
    def is_urgent(self) -> bool:
        return bool(self.it["seconds_left"] < URGENT_SECONDS)

    def time(self, text: str) -> Markup:
        """Return an RFC 3339 time for people, in UTC; the script writes it in the payer's own time."""
        shown = datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M UTC")
        return Markup('<time datetime="{}">{}</time>').format(text, shown)

    # Codes

    @property
    def page_code(self) -> Markup | None:
        """The QR code of this page, for a phone."""
        return None if self.url is None else code(self.url, texts.say(self.language, "qr.page"))

    @property
    def in_app_links(self) -> dict[str, str]:
        """Links that open this page in the browsers of wallets' apps, by the wallet's name."""
        return {} if self.url is None else wallets.in_app_links(self.url)

    @property
    def address_code(self) -> Markup:
        """The QR code of the bare address, for wallets' scanners."""
        return code(self.it["recipient"], texts.say(self.language, "qr.address"))

    def _lost_transfers(self) -> bool:
        return any(transfer["status"] == "orphaned" for transfer in self.it["transfers"])

    def _say(self, key: str) -> Markup:
        return texts.markup(
            self.language,
            key,
            name=self.told_name,
            received=self.money("amount_received"),
            missing=self.money("amount_missing"),
            over=self.money("amount_over"),
            refunded=self.money("amount_refunded"),
        )
