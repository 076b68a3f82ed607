"""Pages: routes that answer with HTML, and with what it loads."""

from fastapi import FastAPI

from watcher.api.pages import assets, checkout, dashboard, payment_link, widget


def install(app: FastAPI) -> None:
    """Add the pages; they are not part of the described API."""
    for module in (assets, checkout, payment_link, widget):
        app.include_router(module.router, include_in_schema=False)
    for router in dashboard.routers():
        app.include_router(router, include_in_schema=False)
