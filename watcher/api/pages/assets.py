"""Styles and scripts of the pages, beside each of them, so that a page finds them below any path."""

from fastapi import APIRouter, Request, Response

from watcher.api.errors import not_found
from watcher.web import assets

router = APIRouter()


@router.get("/pay/assets/{name}")
@router.get("/l/assets/{name}")
@router.get("/dashboard/assets/{name}")
async def get_asset(name: str, request: Request) -> Response:
    """Return a style or a script, as gzip to whoever takes that."""
    asset = assets.find(name)
    if asset is None:
        not_found()
    content, headers = encoded(request, asset)
    return Response(content, media_type=asset.media_type, headers=headers | {"cache-control": assets.CACHE})


def encoded(request: Request, asset: assets.Asset) -> tuple[bytes, dict[str, str]]:
    """Return a file as it is sent, as gzip to whoever takes that, and what the answer says of it."""
    packed = assets.packed(asset) if "gzip" in request.headers.get("accept-encoding", "") else None
    if packed is None:
        return asset.content, {"vary": "accept-encoding"}
    return packed, {"vary": "accept-encoding", "content-encoding": "gzip"}
