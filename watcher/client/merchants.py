"""Merchants and their keys: with the admin token."""

from collections.abc import Mapping, Sequence
from typing import Any

from watcher.client.methods import Method, PageMethod, PaginatedMethod
from watcher.client.request import Listing, PageRequest, Request, Route, drop_none
from watcher.client.types import Units
from watcher.schemas import (
    ApiKey,
    ApiKeyPage,
    LoginLink,
    Merchant,
    MerchantPage,
    MerchantWithKey,
    NewApiKey,
)

_MERCHANTS = "/v1/admin/merchants"
_MERCHANT = _MERCHANTS + "/{}"


class MerchantMethods:
    """Merchants and their keys, with the admin token."""

    @Method
    @staticmethod
    def add_merchant(
        name: str,
        *,
        recipient: str,
        level: str | Mapping[str, int] | None = None,
        ttl: str | int | None = None,
        tolerance: Units | None = None,
        late_policy: str | None = None,
        display_name: str | None = None,
        logo_url: str | None = None,
        brand_color: str | None = None,
        support_url: str | None = None,
        allowed_origins: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[MerchantWithKey]:
        """Add a merchant; their API key is shown this once."""
        body = drop_none(
            name=name,
            recipient=recipient,
            level=level,
            ttl=ttl,
            tolerance=tolerance,
            late_policy=late_policy,
            display_name=display_name,
            logo_url=logo_url,
            brand_color=brand_color,
            support_url=support_url,
            allowed_origins=None if allowed_origins is None else list(allowed_origins),
        )
        return Route("POST", _MERCHANTS, MerchantWithKey).to(body=body, idempotency_key=idempotency_key)

    @PageMethod
    @staticmethod
    def merchants(
        *, limit: int | None = None, cursor: str | None = None
    ) -> PageRequest[MerchantPage, Merchant]:
        """List merchants, newest first."""
        return Listing(_MERCHANTS, MerchantPage, Merchant).to(limit=limit, cursor=cursor)

    each_merchant = PaginatedMethod(merchants)

    @Method
    @staticmethod
    def merchant(merchant_id: str) -> Request[Merchant]:
        """Return one merchant."""
        return Route("GET", _MERCHANT, Merchant).to(merchant_id)

    @Method
    @staticmethod
    def change_merchant(
        merchant_id: str, changes: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Request[Merchant]:
        """Change a merchant; None sets a field back to the settings' default.

        ``client.change_merchant("mer_…", {"level": "settled", "ttl": None})``
        """
        return Route("PATCH", _MERCHANT, Merchant).to(
            merchant_id, body=dict(changes), idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def rotate_merchant_key(
        merchant_id: str, *, overlap: str | int | None = None, idempotency_key: str | None = None
    ) -> Request[MerchantWithKey]:
        """Give a merchant a fresh key, shown this once; their others end, at once or after ``overlap``."""
        body = drop_none(overlap=overlap)
        return Route("POST", _MERCHANT + "/rotate_key", MerchantWithKey).to(
            merchant_id, body=body, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def merchant_keys(merchant_id: str) -> Request[ApiKeyPage]:
        """List all keys that a merchant has or had, without the keys themselves."""
        return Route("GET", _MERCHANT + "/keys", ApiKeyPage).to(merchant_id)

    @Method
    @staticmethod
    def add_merchant_key(
        merchant_id: str,
        *,
        name: str | None = None,
        scopes: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[NewApiKey]:
        """Give a merchant one more key, shown this once; ``scopes`` are ``read`` and ``write``."""
        body = drop_none(name=name, scopes=None if scopes is None else list(scopes))
        return Route("POST", _MERCHANT + "/keys", NewApiKey).to(
            merchant_id, body=body, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def revoke_merchant_key(
        merchant_id: str, key_id: str, *, idempotency_key: str | None = None
    ) -> Request[ApiKey]:
        """Make a key invalid at once."""
        return Route("POST", _MERCHANT + "/keys/{}/revoke", ApiKey).to(
            merchant_id, key_id, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def add_login_link(
        merchant_id: str, *, scopes: Sequence[str] | None = None, idempotency_key: str | None = None
    ) -> Request[LoginLink]:
        """Make a link that signs a merchant in to the dashboard: once, within ten minutes."""
        body = drop_none(scopes=None if scopes is None else list(scopes))
        return Route("POST", _MERCHANT + "/login_links", LoginLink).to(
            merchant_id, body=body, idempotency_key=idempotency_key
        )
