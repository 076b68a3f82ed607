"""Merchants and their API keys: an operator's, by the admin token."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_ADMIN_TOKEN, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import OperatorRoute
from watcher.schemas import AddApiKey, ChangeMerchant, NewLoginLink, NewMerchant, Page, RotateKey

# Without the setting ``admin_token`` there are no such routes: 404.
router = APIRouter(
    prefix="/v1/admin/merchants",
    tags=["Merchants"],
    route_class=OperatorRoute,
    dependencies=BY_ADMIN_TOKEN,
)


@router.post("", status_code=201, response_model=schemas.MerchantWithKey, responses=writes(404, status=201))
async def create_merchant(body: NewMerchant, write: Write) -> Response:
    """Add a merchant. Their API key is shown this once."""
    return await write(lambda services: services.add_merchant(body))


@router.get("", response_model=schemas.MerchantPage, responses=reads(404))
async def list_merchants(page: Annotated[Page, Query()], read: Read) -> Response:
    """List merchants, newest first."""
    return await read(lambda services: services.merchants(page))


@router.get("/{merchant_id}", response_model=schemas.Merchant, responses=reads(404))
async def get_merchant(merchant_id: Id, read: Read) -> Response:
    """Return one merchant."""
    return await read(lambda services: services.merchant_of(merchant_id))


@router.patch("/{merchant_id}", response_model=schemas.Merchant, responses=writes(404))
async def change_merchant(merchant_id: Id, body: ChangeMerchant, write: Write) -> Response:
    """Change a merchant, or disable them."""
    return await write(lambda services: services.change_merchant(merchant_id, body))


@router.post("/{merchant_id}/rotate_key", response_model=schemas.MerchantWithKey, responses=writes(404))
async def rotate_merchant_key(merchant_id: Id, write: Write, body: RotateKey | None = None) -> Response:
    """Give a merchant a fresh API key, shown this once; their others end, at once or after an overlap."""
    return await write(lambda services: services.rotate_merchant_key(merchant_id, body or RotateKey()))


@router.get("/{merchant_id}/keys", response_model=schemas.ApiKeyPage, responses=reads(404))
async def list_merchant_keys(merchant_id: Id, read: Read) -> Response:
    """List all API keys that a merchant has or had, newest first; never the keys themselves."""
    return await read(lambda services: services.merchant_keys(merchant_id))


@router.post(
    "/{merchant_id}/keys",
    status_code=201,
    response_model=schemas.NewApiKey,
    responses=writes(404, status=201),
)
async def add_merchant_key(merchant_id: Id, write: Write, body: AddApiKey | None = None) -> Response:
    """Give a merchant one more API key, shown this once."""
    return await write(lambda services: services.add_merchant_key(merchant_id, body or AddApiKey()))


@router.post("/{merchant_id}/keys/{key_id}/revoke", response_model=schemas.ApiKey, responses=writes(404))
async def revoke_merchant_key(merchant_id: Id, key_id: Id, write: Write) -> Response:
    """Make an API key invalid at once."""
    return await write(lambda services: services.revoke_merchant_key(merchant_id, key_id))


@router.post(
    "/{merchant_id}/login_links",
    status_code=201,
    response_model=schemas.LoginLink,
    responses=writes(404, status=201),
)
async def add_login_link(merchant_id: Id, write: Write, body: NewLoginLink | None = None) -> Response:
    """Make a link that signs a merchant in to the dashboard: once, within ten minutes."""
    return await write(lambda services: services.add_login_link(merchant_id, body or NewLoginLink()))
