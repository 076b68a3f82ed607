"""The description of the API: OpenAPI 3.1 at ``/openapi.json``, made once from the routes and the models."""

import json
from typing import Any, Literal

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from watcher import documents
from watcher.http.describe import ADMIN, KEY

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
        routes=app.routes,
    )
    used = {
        tag for path in found["paths"].values() for operation in path.values() for tag in operation["tags"]
    }
    found["tags"] = [{"name": name, "description": text} for name, text in _TAGS if name in used]
    components = found.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {
        KEY: {"type": "http", "scheme": "bearer", "description": "An API key: `sk_live_…` or `sk_test_…`."},
        ADMIN: {"type": "http", "scheme": "bearer", "description": "The operator's `admin_token`."},
    }
    return found


def _schemas() -> dict[str, Any]:
    models = [getattr(documents, name) for name in documents.__all__]
    kinds: list[tuple[type[BaseModel], Literal["serialization", "validation"]]] = [
        (model, "serialization" if issubclass(model, documents.Document) else "validation")
        for model in models
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not documents.Document
    ]
    _, found = models_json_schema(kinds, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = found["$defs"]
    return definitions
