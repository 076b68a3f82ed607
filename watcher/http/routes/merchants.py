"""Merchants and their API keys: an operator's, by the admin token."""

from fastapi import APIRouter, Request, Response

from watcher import documents
from watcher.http import query
from watcher.http.callers import Id, Operator, api_of
from watcher.http.describe import describe
from watcher.http.query import read_query

router = APIRouter(prefix="/v1/admin/merchants", tags=["Merchants"])

#: Without the setting ``admin_token`` there are no such routes.
_GONE = (404,)


@router.post(
    "",
    **describe(
        answer=documents.MerchantWithKey, status=201, body=documents.NewMerchant, errors=_GONE, admin=True
    ),
)
async def create_merchant(request: Request, caller: Operator) -> Response:
    """Add a merchant. His API key is shown this once."""
    return await api_of(request).change(request, caller, lambda desk, body: desk.add_merchant(body))


@router.get("", **describe(answer=documents.MerchantPage, parameters=query.PAGE, errors=_GONE, admin=True))
async def list_merchants(request: Request, caller: Operator) -> Response:
    """List merchants, newest first."""
    asked = read_query(request, *query.PAGE)
    return await api_of(request).look(request, caller, lambda desk: desk.merchants(**asked))


@router.get("/{merchant_id}", **describe(answer=documents.Merchant, errors=_GONE, admin=True))
async def get_merchant(request: Request, caller: Operator, merchant_id: Id) -> Response:
    """Return one merchant."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.merchant_of(merchant_id))


@router.patch(
    "/{merchant_id}",
    **describe(answer=documents.Merchant, body=documents.ChangeMerchant, errors=_GONE, admin=True),
)
async def change_merchant(request: Request, caller: Operator, merchant_id: Id) -> Response:
    """Change a merchant, or disable him."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.change_merchant(merchant_id, body), status=200
    )


@router.post(
    "/{merchant_id}/rotate_key",
    **describe(
        answer=documents.MerchantWithKey,
        body=documents.RotateKey,
        body_needed=False,
        errors=_GONE,
        admin=True,
    ),
)
async def rotate_merchant_key(request: Request, caller: Operator, merchant_id: Id) -> Response:
    """Give a merchant a fresh API key, shown this once; his others end, at once or after an overlap."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.rotate_merchant_key(merchant_id, body), status=200
    )


@router.get("/{merchant_id}/keys", **describe(answer=documents.ApiKeyPage, errors=_GONE, admin=True))
async def list_merchant_keys(request: Request, caller: Operator, merchant_id: Id) -> Response:
    """List all API keys that a merchant has or had, newest first; never the keys themselves."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.merchant_keys(merchant_id))


@router.post(
    "/{merchant_id}/keys",
    **describe(
        answer=documents.NewApiKey,
        status=201,
        body=documents.AddApiKey,
        body_needed=False,
        errors=_GONE,
        admin=True,
    ),
)
async def add_merchant_key(request: Request, caller: Operator, merchant_id: Id) -> Response:
    """Give a merchant one more API key, shown this once."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.add_merchant_key(merchant_id, body)
    )


@router.post(
    "/{merchant_id}/keys/{key_id}/revoke",
    **describe(answer=documents.ApiKey, changes=True, errors=_GONE, admin=True),
)
async def revoke_merchant_key(request: Request, caller: Operator, merchant_id: Id, key_id: Id) -> Response:
    """Make an API key invalid at once."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.revoke_merchant_key(merchant_id, key_id, body), status=200
    )
