"""What the overview shows, from the documents of the statistics and of the status (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup

from watcher.web import amounts, plots
from watcher.web.plots import Plot, Series

#: What needs a person, by its code: in words for one and for several, where to go, and what to do there.
_ATTENTION: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "reorged": (
        "paid payment was taken back by a reorg of the chain",
        "paid payments were taken back by a reorg of the chain",
        "payments?attention=true&flag=reorged",
        "Wait before you ship; each comes back or fails by itself.",
    ),
    "unverified": (
        "payment waits for a second source of the chain",
        "payments wait for a second source of the chain",
        "payments?attention=true&flag=unverified",
        "Look at it before you ship.",
    ),
    "late_payments": (
        "payment came after it had ended",
        "payments came after they had ended",
        "payments?attention=true&flag=late",
        "Ship and mark it as paid, or send the money back.",
    ),
    "refunds_due": (
        "payment holds money that is not yours to keep",
        "payments hold money that is not yours to keep",
        "payments?attention=true&flag=refund_due",
        "Send it back, or dismiss it.",
    ),
    "transfers_to_assign": (
        "transfer belongs to no payment",
        "transfers belong to no payment",
        "transfers",
        "Assign it to the payment that it was meant for.",
    ),
    "endpoints_disabled": (
        "webhook endpoint was disabled; its webhooks are held",
        "webhook endpoints were disabled; their webhooks are held",
        "webhooks",
        "Mend it, then enable it.",
    ),
    "deliveries_dead": (
        "webhook was given up",
        "webhooks were given up",
        "webhooks/deliveries?status=dead",
        "Mend the endpoint, then retry or recover them.",
    ),
    "endpoints_failing": (
        "webhook endpoint fails",
        "webhook endpoints fail",
        "webhooks",
        "Each webhook is tried again by itself; see what the endpoint answers.",
    ),
}

#: Reasons of the status that the list above tells with a place to go.
_TOLD_ABOVE: Final = frozenset({"endpoints_failing", "endpoint_disabled", "deliveries_dead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that needs a person; ``path`` is where to go below ``/dashboard``."""

    text: str
    hint: str
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do at first; ``path`` is where."""

    name: str
    say: str
    path: str
    is_done: bool


class Overview:
    """What the template asks for. ``decimals``: of each asset, by short name."""

    def __init__(
        self,
        statistics: Mapping[str, Any],
        status: Mapping[str, Any],
        *,
        decimals: Mapping[str, int],
        has_links: bool,
    ) -> None:
        self.it = statistics
        self.status = status
        self._decimals = decimals
        self._has_links = has_links

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever to be paid."""
        return not self.it["intents"]

    def symbol(self, asset: str) -> str:
        """Return how an asset is written."""
        return amounts.symbol(asset)

    def amount(self, units: str, asset: str) -> str:
        """Return base units of an asset as a decimal number with its symbol; of one that the settings do not
        have any more, the base units.
        """
        if asset not in self._decimals:
            return f"{int(units):,} units of {asset}"
        return f"{amounts.decimal(int(units), self._decimals[asset])} {amounts.symbol(asset)}"

    def payments(self, count: int) -> str:
        """Return a number of payments in words."""
        return "1 payment" if count == 1 else f"{count:,} payments"

    @property
    def steps(self) -> Sequence[Step]:
        """What to do first; nothing once there was a payment, and somebody is told of it."""
        steps = [
            Step(
                name="Add a webhook endpoint",
                say="Your shop ships goods when it is told so. Nothing on a page is as sure.",
                path="webhooks",
                is_done=bool(self.it["webhooks"]["endpoints"]),
            ),
            Step(
                name="Create a payment link",
                say="A page that takes payments, without a line of code.",
                path="links/new",
                is_done=self._has_links,
            ),
            Step(
                name="Create a payment from your shop",
                say="Create an API key, and let your shop ask for a payment of each order.",
                path="keys",
                is_done=not self.is_new,
            ),
        ]
        return steps if self.is_new or not self.it["webhooks"]["endpoints"] else []

    @property
    def attention(self) -> Sequence[Item]:
        """What needs a person, most urgent first."""
        found = [
            Item(text=reason["message"], hint=reason["hint"], path="status")
            for reason in self.status["reasons"]
            if reason["code"] not in _TOLD_ABOVE
        ]
        for entry in self.it["attention"]:
            one, several, path, hint = _ATTENTION[entry["code"]]
            number = f"{entry['count']:,}"
            text = f"More than {number} {several}" if entry["more"] else f"{number} {several}"
            found.append(
                Item(
                    text=f"1 {one}" if entry["count"] == 1 and not entry["more"] else text,
                    hint=hint,
                    path=path,
                )
            )
        return found

    @property
    def lag(self) -> str | None:
        """How far the newest applied block is behind the chain's, in words; None before the first one."""
        seconds = self.status["lag"]["our_seconds"]
        if seconds is None:
            return None
        return "up to date" if seconds < 1 else f"{seconds:,.0f} s behind the chain"

    @property
    def paid_plots(self) -> Mapping[str, Markup]:
        """What was paid by day, of each asset that was paid in."""
        return {entry["asset"]: self._paid(entry) for entry in self.it["paid"] if entry["month"]["count"]}

    @property
    def plots(self) -> Sequence[Markup]:
        """What became of payments, and how webhooks do."""
        return [
            *([] if self.is_new else [self._created()]),
            *([self._webhooks()] if self.it["webhooks"]["attempts"] else []),
        ]

    def _paid(self, entry: Mapping[str, Any]) -> Markup:
        asset, days = entry["asset"], entry["days"]
        symbol = amounts.symbol(asset) if asset in self._decimals else f"units of {asset}"
        return plots.figure(
            Plot(
                title=f"Paid in {symbol} by day",
                unit=symbol,
                decimals=self._decimals.get(asset, 0),
                places="Day (UTC)",
                names=[day["day"] for day in days],
                labels=[plots.day_label(day["day"]) for day in days],
                series=[Series("Paid", [int(day["amount"]) for day in days])],
                beside=[Series("Payments", [day["count"] for day in days])],
            )
        )

    def _created(self) -> Markup:
        days = self.it["created"]
        return plots.figure(
            Plot(
                title="Payments by the day they were created",
                unit="",
                places="Day (UTC)",
                names=[day["day"] for day in days],
                labels=[plots.day_label(day["day"]) for day in days],
                series=[
                    Series("paid", [day["succeeded"] for day in days]),
                    Series("open", [day["open"] for day in days]),
                    Series("not paid", [day["failed"] + day["expired"] + day["canceled"] for day in days]),
                ],
            )
        )

    def _webhooks(self) -> Markup:
        hours = self.it["webhooks"]["hours"]
        return plots.figure(
            Plot(
                title="Attempts to send webhooks by hour",
                unit="",
                places="Hour (UTC)",
                names=[_hour(hour["hour"], "%Y-%m-%d %H:%M") for hour in hours],
                labels=[_hour(hour["hour"], "%H:%M") for hour in hours],
                series=[
                    Series("succeeded", [hour["succeeded"] for hour in hours]),
                    Series("failed", [hour["attempts"] - hour["succeeded"] for hour in hours]),
                ],
                beside=[Series("Average answer (ms)", [hour["average_ms"] for hour in hours])],
            )
        )


def place_of(code: str) -> str:
    """Return the page below ``/dashboard`` that shows what needs somebody, by its code."""
    return _ATTENTION[code][2]


def _hour(moment: str, form: str) -> str:
    return datetime.fromisoformat(moment).strftime(form)
