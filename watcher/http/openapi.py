"""The description of the API: OpenAPI 3.1 at ``/openapi.json``, made once from the routes and the models."""

import json
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from watcher.documents import Problem

_INTRODUCTION = """\
Payments in sBTC, STX and other SIP-010 tokens on Stacks: create a payment intent, show its memo or contract call to the
payer, and get a signed webhook when the money is there.

Amounts are decimal strings of base units (sats, micro-STX). Times are RFC 3339 in UTC. Errors are
`application/problem+json` with a stable `code`. Lists take `limit` and `cursor`; `next_cursor` is null on the last page.
Send an `Idempotency-Key` with every POST: when the answer is lost, the same request gives the same answer for 24 hours.
"""

_TAGS = (
    ("Payment intents", "What is owed, and what became of it."),
    ("Transfers", "Money that arrived, and who gives it to an intent."),
    ("Webhook endpoints", "Where webhooks go."),
    ("Webhook deliveries", "Webhooks on their way."),
    ("Events", "What merchants were told."),
    ("Status", "How the daemon stands."),
    ("Merchants", "For operators, with the admin token: merchants and their keys."),
)


def install(app: FastAPI) -> None:
    """Serve the description of the application's routes."""
    made: list[bytes] = []

    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        """Return the description."""
        if not made:
            made.append(json.dumps(describe_all(app), ensure_ascii=False, separators=(",", ":")).encode())
        return Response(made[0], media_type="application/json")


def describe_all(app: FastAPI) -> dict[str, Any]:
    """Return the description as a document."""
    found = get_openapi(
        title="sbtc-watcher",
        version=app.version,
        description=_INTRODUCTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This server."}],
        tags=[{"name": name, "description": text} for name, text in _TAGS],
        routes=app.routes,
        webhooks=app.webhooks.routes,
    )
    schemas = found["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs")
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's own, which no answer here has
        schemas.pop(name, None)
    _mend(found)
    return found


def _mend(node: Any) -> None:
    """Describe parameters of the form ``metadata[key]=text`` as such, and leave out that a default is null.

    To generators a field with a default is one that is always there.
    """
    if isinstance(node, list):
        for part in node:
            _mend(part)
    if not isinstance(node, dict):
        return
    if "default" in node and node["default"] is None:
        del node["default"]
    if node.get("in") == "query" and node["name"] == "metadata":
        node |= {"style": "deepObject", "explode": True}
    for part in node.values():
        _mend(part)
