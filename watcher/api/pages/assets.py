"""Styles and scripts of the pages, beside each of them, so that a page finds them below any path."""

from fastapi import APIRouter, Response

from watcher.api.errors import not_found
from watcher.web import assets

router = APIRouter()


@router.get("/pay/assets/{name}")
@router.get("/l/assets/{name}")
@router.get("/dashboard/assets/{name}")
async def get_asset(name: str) -> Response:
    """Return a style or a script."""
    asset = assets.find(name)
    if asset is None:
        not_found()
    return Response(asset.content, media_type=asset.media_type, headers={"cache-control": assets.CACHE})
