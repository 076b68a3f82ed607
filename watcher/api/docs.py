"""The page at ``/docs``: Swagger UI over ``/openapi.json``, from files of this package, so that it needs no
network.
"""

from importlib.resources import files
from typing import Final

from fastapi import FastAPI, Response

from watcher.api.errors import not_found

#: What the page is made of; the folder also holds the licence.
ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sbtc-watcher API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/docs.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""


def install(app: FastAPI) -> None:
    """Serve the page and its files."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        """Return the page."""
        return Response(_PAGE, media_type="text/html; charset=utf-8")

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        """Return one of its files."""
        if name not in ASSETS:
            not_found()
        content = files("watcher.api").joinpath("assets", name).read_bytes()
        return Response(content, media_type=ASSETS[name], headers={"cache-control": "public, max-age=3600"})
