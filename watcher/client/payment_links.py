"""Payment links."""

from collections.abc import Mapping
from typing import Any

from watcher.client.methods import Method, PageMethod, PaginatedMethod
from watcher.client.request import Listing, PageRequest, Request, Route, drop_none
from watcher.client.types import Moment, Units
from watcher.schemas import PaymentLink, PaymentLinkPage, PaymentLinkStatistics

_LINKS = "/v1/payment_links"
_LINK = _LINKS + "/{}"


class PaymentLinkMethods:
    """Payment links."""

    @Method
    @staticmethod
    def create_link(
        *,
        amount: Units | None = None,
        min_amount: Units | None = None,
        max_amount: Units | None = None,
        asset: str | None = None,
        prices: Mapping[str, Units] | None = None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_at: Moment | None = None,
        max_uses: int | None = None,
        password: str | None = None,
        level: str | Mapping[str, int] | None = None,
        recipient: str | None = None,
        success_url: str | None = None,
        cancel_url: str | None = None,
        merchant: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[PaymentLink]:
        """Create a link from which payers start payments of their own.

        ``client.create_link(prices={"sbtc": 50_000, "stx": 25_000_000}, description="Coffee").url``
        """
        body = drop_none(
            amount=amount,
            min_amount=min_amount,
            max_amount=max_amount,
            asset=asset,
            prices=prices,
            description=description,
            metadata=metadata,
            expires_at=expires_at,
            max_uses=max_uses,
            password=password,
            level=level,
            recipient=recipient,
            success_url=success_url,
            cancel_url=cancel_url,
            merchant=merchant,
        )
        return Route("POST", _LINKS, PaymentLink).to(body=body, idempotency_key=idempotency_key)

    @PageMethod
    @staticmethod
    def links(
        *, merchant: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> PageRequest[PaymentLinkPage, PaymentLink]:
        """List links, newest first."""
        return Listing(_LINKS, PaymentLinkPage, PaymentLink).to(merchant=merchant, limit=limit, cursor=cursor)

    each_link = PaginatedMethod(links)

    @Method
    @staticmethod
    def link(link_id: str) -> Request[PaymentLink]:
        """Return one link."""
        return Route("GET", _LINK, PaymentLink).to(link_id)

    @Method
    @staticmethod
    def change_link(
        link_id: str, changes: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Request[PaymentLink]:
        """Change a link; None takes a value away. Payments that were started keep their terms.

        ``client.change_link("pl_…", {"active": False})``
        """
        body = dict.fromkeys(changes) | drop_none(**changes)
        return Route("PATCH", _LINK, PaymentLink).to(link_id, body=body, idempotency_key=idempotency_key)

    @Method
    @staticmethod
    def link_statistics(link_id: str, *, days: int | None = None) -> Request[PaymentLinkStatistics]:
        """Return what became of a link: totals, and its newest days."""
        return Route("GET", _LINK + "/statistics", PaymentLinkStatistics).to(link_id, query={"days": days})
