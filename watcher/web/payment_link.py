"""The page of a payment link, from its document."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from watcher.domain.payment_links import LinkStatus
from watcher.web import amounts, texts
from watcher.web.page import Page
from watcher.web.payer_page import PayerView, payer_page

#: Characters of a description's first line that make a heading.
MAX_HEADING = 80

#: Where the page says what is wrong, by the error's code; others are said as ``not_payable``.
ERRORS: Mapping[str, str] = {
    "amount_missing": "amount",
    "amount_unreadable": "amount",
    "amount_ambiguous": "amount",
    "amount_too_fine": "amount",
    "amount_out_of_range": "amount",
    "asset_missing": "asset",
    "wrong_password": "password",
    "too_many_open": "form",
    "not_payable": "form",
}


def link_page(
    document: Mapping[str, Any],
    *,
    visit: str,
    values: Mapping[str, str] | None = None,
    error: str | None = None,
    unlock: str = "",
    origins: Sequence[str] = (),
    language: str = texts.DEFAULT,
) -> Page:
    """Return the page of a payment link.

    ``visit``: random, so that a form that is sent twice starts one payment. ``values`` and ``error``: what
    was sent, and the code of what is wrong with it. ``unlock``: what the right password has brought.
    ``origins`` may frame the page.
    """
    return payer_page(
        "payment_link.html",
        _View(document, values or {}, error, language),
        origins=origins,
        forms=True,
        visit=visit,
        unlock=unlock,
    )


class _View(PayerView):
    """What the template asks for, beside the document itself as ``it``."""

    def __init__(
        self, document: Mapping[str, Any], values: Mapping[str, str], error: str | None, language: str
    ) -> None:
        super().__init__(document, language)
        self.values = values
        self.error = error
        self.status = LinkStatus(document["status"])
        self.prices: Sequence[Mapping[str, Any]] = document["prices"]
        #: The only price, or the one that was chosen.
        self.only = self.prices[0] if len(self.prices) == 1 else None

    @property
    def heading(self) -> str | None:
        """The description's first line, None where it is none or too long for that."""
        line = (self.it["description"] or "").strip().partition("\n")[0]
        return line if 0 < len(line) <= MAX_HEADING else None

    @property
    def description(self) -> str:
        """What of the description is not in the heading."""
        text = (self.it["description"] or "").strip()
        return text if self.heading is None else text.removeprefix(self.heading).strip()

    @property
    def is_open(self) -> bool:
        """Whether the payer says how much."""
        return self.only is not None and self.only["amount"] is None

    @property
    def gone(self) -> str | None:
        """Why nothing can be started, None while something can."""
        if self.status is not LinkStatus.ACTIVE:
            return self.status.value
        return None if self.prices or self.it["locked"] else LinkStatus.DISABLED.value

    def symbol(self, price: Mapping[str, Any]) -> str:
        """Return how a price's asset is written."""
        return amounts.symbol(price["asset"])

    def number(self, units: str, price: Mapping[str, Any]) -> str:
        """Return base units of a price's asset, to be read."""
        return amounts.written(amounts.decimal(int(units), price["decimals"]), self.language)

    def sum(self, units: str, price: Mapping[str, Any]) -> str:
        """Return the same with its symbol."""
        return amounts.with_symbol(int(units), price["decimals"], price["asset"], self.language)

    def sats(self, units: str, price: Mapping[str, Any]) -> str | None:
        """Return an amount of bitcoin in sats, None for other assets."""
        return amounts.in_sats(int(units), price["asset"], self.language)

    @property
    def limits(self) -> Markup | None:
        """How much the payer may say, None for whatever they like."""
        price = self.only
        assert price is not None, "an open link has one price"
        least = None if price["min_amount"] in (None, "1") else self.sum(price["min_amount"], price)
        most = None if price["max_amount"] is None else self.sum(price["max_amount"], price)
        if least and most:
            return self._say("link.limits.both", least=least, most=most)
        if least:
            return self._say("link.limits.least", least=least)
        return self._say("link.limits.most", most=most) if most else None

    @property
    def chosen(self) -> str | None:
        """The asset that is chosen already."""
        return self.values.get("asset") or None

    def wrong(self, field: str) -> Markup | None:
        """Return what is wrong with a field, in words; with ``form`` what concerns all of it."""
        error = self.error if self.error is None or self.error in ERRORS else "not_payable"
        if error is None or ERRORS[error] != field:
            return None
        if error == "amount_out_of_range":
            return self.limits or self._say("link.error.amount_out_of_range")
        return self._say(f"link.error.{error}", n=self.only["decimals"] if self.only else 0, name=self.name)

    @property
    def until(self) -> str | None:
        """Until when a payment can be started."""
        text = self.it["expires_at"]
        return None if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"

    def _say(self, key: str, **values: object) -> Markup:
        return texts.markup(self.language, key, **values)
