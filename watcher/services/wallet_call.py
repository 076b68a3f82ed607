"""What a payer's wallet is asked to do for a checkout."""

from typing import Any

from sqlalchemy import Connection

from contracts.wallet_call import wallet_call
from watcher.config.settings import Settings
from watcher.errors import Problems, Refused
from watcher.services import checkout


def document(
    connection: Connection, token: str, *, sender: str, settings: Settings, now: float
) -> dict[str, Any]:
    """Return the request for a wallet whose address is ``sender``: the payment contract's call where there is
    one, else the plain transfer.

    Raises :class:`watcher.errors.NotFound`, and :class:`watcher.errors.Refused` when it is not to be paid, or
    not by this sender.
    """
    shown, _ = checkout.document(connection, token, settings=settings, now=now)
    problems = Problems()
    problems.read("sender", settings.network_facts.parse_principal, sender, None)
    problems.check()
    call = None if shown["pay"] is None else shown["pay"]["contract"] or shown["pay"]["transfer"]
    if call is None:
        raise Refused("not_payable", "this payment is not to be paid, or no longer")
    if shown["payer"] not in (None, sender):
        raise Refused("wrong_payer", f"only a payment from {shown['payer']} counts")
    try:
        return {"object": "wallet_call"} | wallet_call(call, sender=sender, network=shown["network"])
    except ValueError as error:
        raise Refused("not_payable", f"{error}; pay by hand") from None
