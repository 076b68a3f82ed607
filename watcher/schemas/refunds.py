"""Giving money back: requests."""

from watcher.schemas.base import OwnedPage, Request
from watcher.schemas.fields import AmountIn, PrincipalIn


class RefundsDue(OwnedPage):
    """A page of the payments of which a refund is due."""


class GiveBack(Request):
    """What is to be given back of a payment, and to whom; by default what is due, to whom it came from."""

    amount: AmountIn | None = None
    """Base units; at most what was received and did not go back."""
    to: PrincipalIn | None = None
    """The address that gets it; by default the one that paid. An exchange's address is no use to a payer."""
