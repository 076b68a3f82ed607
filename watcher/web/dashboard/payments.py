"""What the pages of payments show beside the documents themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from watcher.domain.model import Flag, Status
from watcher.web import amounts
from watcher.web.dashboard import words

#: In these a payment can still become paid by itself.
OPEN = (Status.PENDING, Status.PROCESSING)

#: Filters of the list: statuses and flags, with what they are called.
STATUS_OPTIONS = [("", "any"), *((str(status), str(status)) for status in Status)]
FLAG_OPTIONS = [("", "any"), *((str(flag), str(flag).replace("_", " ")) for flag in Flag)]

#: Levels of confirmation a person can choose for a payment, with what they mean.
LEVEL_OPTIONS = [
    ("", "as usual for the amount"),
    ("included", "included: in a Stacks block, within a minute"),
    ("anchored", "anchored: two Bitcoin blocks, about 20 minutes"),
    ("settled", "settled: six Bitcoin blocks, about an hour"),
]

#: Lifetimes of a payment.
EXPIRY_OPTIONS = [
    ("", "as usual"),
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("24h", "1 day"),
    ("7d", "7 days"),
]


def asset_options(assets: Mapping[str, tuple[str, int]]) -> list[tuple[str, str]]:
    """Return the choices of an asset; ``assets``: by short name, as every page has them."""
    return [(name, amounts.symbol(name)) for name in assets]


def amount_in(assets: Mapping[str, tuple[str, int]], units: str, asset: str) -> str:
    """Return base units in the asset's own unit, as a form takes them."""
    return amounts.decimal(int(units), assets[asset][1] if asset in assets else 0)


def said(payment: Mapping[str, Any]) -> str:
    """Return what a payment's status means, in a sentence."""
    if payment["status"] == Status.PENDING and payment["in_flight"]:
        return "A payment is on its way: it was seen before a block took it in."
    if payment["status"] == Status.EXPIRED and payment["amount_received"] != "0":
        return "Not paid in full in time."
    return words.STATUSES[payment["status"]]


def notes(payment: Mapping[str, Any]) -> list[str]:
    """Return what else there is to know of a payment, a sentence each."""
    return [words.FLAGS[flag] for flag in payment["flags"] if flag in words.FLAGS]


def may(payment: Mapping[str, Any]) -> Mapping[str, bool]:
    """Return what can be done with a payment now."""
    came = payment["amount_received"] != "0"
    return {
        "cancel": payment["status"] == Status.PENDING,
        "pay": payment["status"] == Status.PENDING and payment["amount_missing"] != "0",
        "refund": came and payment["status"] not in OPEN,
        "dismiss": Flag.REFUND_DUE in payment["flags"],
    }


def level(payment: Mapping[str, Any]) -> str:
    """Return how deep a payment must be and is, in words."""
    required, reached = payment["confirmations"]["required"], payment["confirmations"]["reached"]
    parts = []
    for chain, name in (("bitcoin", "Bitcoin"), ("stacks", "Stacks")):
        if required[chain] > (0 if chain == "bitcoin" else 1) or (
            chain == "stacks" and not required["bitcoin"]
        ):
            had = "" if reached is None else f"{min(reached[chain], required[chain])} of "
            plural = "" if required[chain] == 1 else "s"
            parts.append(f"{had}{required[chain]} {name} block{plural}")
    return " and ".join(parts)


def deliveries_of(
    events: Sequence[Mapping[str, Any]], deliveries: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the events of a payment, newest first, each with its deliveries and in words."""
    return [
        {
            **event,
            "said": words.EVENTS.get(event["type"], event["type"]),
            "deliveries": deliveries[event["id"]],
        }
        for event in events
    ]
