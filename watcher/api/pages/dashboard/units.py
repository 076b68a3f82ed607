"""Amounts of forms."""

from chain.model import MAX_AMOUNT
from watcher.config.settings import Settings
from watcher.errors import Refused
from watcher.text import quote
from watcher.web import amounts


def base_units(text: str, asset: str, settings: Settings) -> str:
    """Return an amount in base units that was typed in an asset's own unit. Raises :class:`Refused`."""
    known = settings.assets.get(asset)
    if known is None:
        message = f"{quote(asset)} is not an asset of the settings"
        raise Refused("validation", errors=[{"field": "asset", "message": message}])
    try:
        found = amounts.parse(text, known.decimals, amounts.symbol(asset))
        if not 0 < found <= MAX_AMOUNT:
            raise ValueError("must be more than 0" if not found else "is too large")
        return str(found)
    except ValueError as error:
        raise Refused("validation", errors=[{"field": "amount", "message": str(error)}]) from None
