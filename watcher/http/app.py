"""The application that the server serves."""

from fastapi import FastAPI

from watcher import __version__
from watcher.http import health as health_routes
from watcher.http import problems
from watcher.http.health import Health


def make_app(health: Health) -> FastAPI:
    """Return the application with the routes that every role has."""
    app = FastAPI(title="sbtc-watcher", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    app.include_router(health_routes.routes(health))
    return app
