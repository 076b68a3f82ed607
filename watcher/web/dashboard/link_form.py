"""The form of a payment link: from a link's document to fields, and from fields to a request (pure)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from watcher.errors import Problems
from watcher.web import amounts

#: Digits after the point, by short name.
Decimals = Mapping[str, int]

#: Fields that are sent as they are; an empty one takes the value away.
_TEXTS = ("description", "max_uses", "level", "recipient", "success_url", "cancel_url")


class Pricing(StrEnum):
    """Who says how much is paid, and in what."""

    FIXED = "fixed"
    OPEN = "open"
    SEVERAL = "several"


def values_of(link: Mapping[str, Any], decimals: Decimals) -> dict[str, str]:
    """Return the fields that say what a link is."""
    values = {name: "" if link[name] is None else str(link[name]) for name in _TEXTS}
    if isinstance(link["level"], Mapping):
        values["level"] = f"stacks={link['level']['stacks']},bitcoin={link['level']['bitcoin']}"
    values["metadata"] = "\n".join(f"{key}={text}" for key, text in link["metadata"].items())
    values["expires_at"] = "" if link["expires_at"] is None else link["expires_at"][:16]
    values["asset"] = link["asset"] or next(iter(decimals))
    if link["prices"] is not None:
        values["pricing"] = Pricing.SEVERAL
        values |= {
            price_field(asset): amounts.decimal(int(amount), decimals[asset])
            for asset, amount in link["prices"].items()
            if asset in decimals
        }
    else:
        values["pricing"] = Pricing.OPEN if link["amount"] is None else Pricing.FIXED
        for name in ("amount", "min_amount", "max_amount"):
            amount = link[name]
            digits = decimals.get(values["asset"], 0)
            values[name] = "" if amount is None else amounts.decimal(int(amount), digits)
    return values


def request_of(values: Mapping[str, str], decimals: Decimals) -> dict[str, Any]:
    """Return the request that a form's fields stand for; what is empty is None.

    Raises :class:`watcher.errors.Refused` for amounts that are none, by the names of the form's fields.
    """
    problems = Problems()
    given: dict[str, Any] = {name: values.get(name) or None for name in _TEXTS}
    given["metadata"] = _metadata(problems, values.get("metadata", ""))
    moment = values.get("expires_at", "")
    given["expires_at"] = f"{moment[:16]}:00Z" if moment else None
    given |= dict.fromkeys(("amount", "min_amount", "max_amount", "asset", "prices"))
    pricing = values.get("pricing")
    if pricing == Pricing.SEVERAL:
        prices = {
            asset: _units(problems, values, price_field(asset), asset, digits)
            for asset, digits in decimals.items()
            if values.get(price_field(asset))
        }
        if not prices:
            problems.add("prices", "are missing; give the price in at least one asset")
        given["prices"] = prices
    else:
        given["asset"] = values.get("asset", "")
        digits = decimals.get(given["asset"], 0)
        fields = ("min_amount", "max_amount") if pricing == Pricing.OPEN else ("amount",)
        if pricing != Pricing.OPEN and not values.get("amount"):
            problems.add("amount", "is missing; give one, or let payers say how much")
        for name in fields:
            given[name] = _units(problems, values, name, given["asset"], digits) if values.get(name) else None
    problems.check()
    return given


def price_field(asset: str) -> str:
    """Return the name of the field with the price in an asset."""
    return f"price-{asset}"


def shown(decimals: Decimals) -> Sequence[str]:
    """Return the names of the fields that show what is wrong beside them."""
    own = ("amount", "min_amount", "max_amount", "asset", "metadata", "expires_at", "password")
    return [*_TEXTS, *own, *map(price_field, decimals)]


def _units(problems: Problems, values: Mapping[str, str], field: str, asset: str, digits: int) -> str:
    """Return an amount in base units, as requests have it."""
    try:
        return str(amounts.parse(values[field], digits, amounts.symbol(asset)))
    except ValueError as error:
        problems.add(field, str(error))
        return ""


def _metadata(problems: Problems, text: str) -> dict[str, str] | None:
    """Return the table of lines such as ``order=17``, None for no line."""
    found: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        key, equals, value = line.partition("=")
        if not equals:
            problems.add("metadata", "are lines such as product=coffee")
        found[key.strip()] = value.strip()
    return found or None
