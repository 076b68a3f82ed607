"""The application that the server serves."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from watcher import __version__
from watcher.api import docs, errors, openapi, pages
from watcher.api import health as health_routes
from watcher.api.health import Health
from watcher.api.routes import (
    checkout,
    deliveries,
    events,
    merchants,
    payment_intents,
    payment_links,
    queue,
    status,
    transfers,
    webhook_endpoints,
)
from watcher.api.transactions import TransactionRunner

#: What scripts of other origins may send and see, where the settings allow them any.
_ALLOWED = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-Id")
_EXPOSED = ("ETag", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")


def make_app(health: Health, api: TransactionRunner | None = None) -> FastAPI:
    """Return the application: the health routes, and with ``api`` the merchant API and its page."""
    app = FastAPI(
        title="sbtc-watcher",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    errors.install(app)
    app.include_router(health_routes.routes(health), include_in_schema=False)
    if api is None:
        return app
    app.state.api = api
    for router in (
        payment_intents.bulk,
        *(
            module.router
            for module in (
                payment_intents,
                checkout,
                payment_links,
                transfers,
                webhook_endpoints,
                deliveries,
                events,
                queue,
                status,
                merchants,
            )
        ),
    ):
        app.include_router(router)
    openapi.install(app)
    docs.install(app)
    pages.install(app)
    if api.settings.http_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=api.settings.http_cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
            max_age=600,
        )
    return app
