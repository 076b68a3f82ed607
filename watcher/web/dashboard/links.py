"""What the pages of payment links show, from documents (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from watcher.web import amounts, plots
from watcher.web.codes import code
from watcher.web.plots import Kind, Plot, Series


class LinkView:
    """A link as lists and pages show it.

    ``decimals``: by short name; ``url``: the whole address, where it is known.
    """

    def __init__(self, link: Mapping[str, Any], decimals: Mapping[str, int], url: str | None = None) -> None:
        self.it = link
        self.url = url or link["url"]
        self.is_whole = "://" in self.url
        self._decimals = decimals

    @property
    def name(self) -> str:
        """What the link is called: its description's first line."""
        text = (self.it["description"] or "").strip()
        return text.splitlines()[0] if text else "Without a description"

    @property
    def prices(self) -> Sequence[str]:
        """What is paid with it, in words; one text for each asset."""
        if self.it["prices"] is not None:
            return [self._amount(amount, asset) for asset, amount in self.it["prices"].items()]
        asset = self.it["asset"]
        if self.it["amount"] is not None:
            return [self._amount(self.it["amount"], asset)]
        least, most = self.it["min_amount"], self.it["max_amount"]
        limits = [f"at least {self._amount(least, asset)}"] if least is not None else []
        limits += [f"at most {self._amount(most, asset)}"] if most is not None else []
        said = f"what the payer says, in {amounts.symbol(asset)}"
        return [f"{said}: {', '.join(limits)}" if limits else said]

    @property
    def uses(self) -> str:
        """How often it was used, and may be."""
        most = self.it["max_uses"]
        return f"{self.it['uses']:,}" if most is None else f"{self.it['uses']:,} of {most:,}"

    @property
    def picture(self) -> Markup:
        """The code to scan."""
        return code(self.url, "QR code of the link")

    def symbol(self, asset: str) -> str:
        """Return how an asset is written."""
        return amounts.symbol(asset)

    def _amount(self, units: str, asset: str) -> str:
        return f"{amounts.decimal(int(units), self._decimals.get(asset, 0))} {amounts.symbol(asset)}"


class LinkStatistics:
    """What became of a link."""

    def __init__(self, statistics: Mapping[str, Any]) -> None:
        self.it = statistics

    @property
    def plots(self) -> Sequence[Markup]:
        """Who looked, started and paid by day, and what came in each asset."""
        return [self._people(), *(self._amounts(asset) for asset in self.it["amounts"])]

    def _people(self) -> Markup:
        days = self.it["days"]
        return plots.figure(
            Plot(
                title="Looked, started, paid by day",
                unit="",
                kind=Kind.LINE,
                places="Day (UTC)",
                names=[day["date"] for day in days],
                labels=[plots.day_label(day["date"]) for day in days],
                series=[
                    Series("people who looked", [day["views"] for day in days]),
                    Series("payments started", [day["started"] for day in days]),
                    Series("payments paid", [day["paid"] for day in days]),
                ],
            )
        )

    def _amounts(self, asset: str) -> Markup:
        days, symbol = self.it["days"], amounts.symbol(asset)
        return plots.figure(
            Plot(
                title=f"Paid in {symbol} by day",
                unit=symbol,
                decimals=self.it["decimals"].get(asset, 0),
                places="Day (UTC)",
                names=[day["date"] for day in days],
                labels=[plots.day_label(day["date"]) for day in days],
                series=[Series("Paid", [int(day["amounts"].get(asset, "0")) for day in days])],
            )
        )
