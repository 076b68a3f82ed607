"""The script that shops put into their own pages, under names that stay."""

from fastapi import APIRouter, Request, Response

from watcher.api.json_response import with_etag
from watcher.api.pages.assets import encoded
from watcher.web import assets

router = APIRouter()

#: Any page may load it, also as a module and from a page that isolates itself; a new version is there within
#: five minutes, and an old one runs while the server is asked for it.
_HEADERS = {
    "cache-control": "public, max-age=300, stale-while-revalidate=86400, stale-if-error=86400",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
}


@router.get("/widget.js")
@router.get("/widget.mjs")
async def get_widget(request: Request) -> Response:
    """Return the widget, as a script that leaves a global or as a module."""
    asset = assets.script(request.url.path.rpartition("/")[2])
    content, headers = encoded(request, asset)
    return with_etag(request, content, media_type=asset.media_type, headers=_HEADERS | headers)
