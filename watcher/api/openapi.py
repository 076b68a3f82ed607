"""The description of the API: OpenAPI 3.1 at ``/openapi.json``, made once from the routes and the models."""

import json
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from notifier.events import EventType
from watcher.schemas import Event, Problem

_INTRODUCTION = """\
Payments in sBTC, STX and other SIP-010 tokens on Stacks: create a payment intent, show its memo or contract
call to the payer, and get a signed webhook when it is paid.

Amounts are decimal strings of base units (sats, micro-STX). Times are RFC 3339 in UTC. Errors are
`application/problem+json` with a stable `code`. Lists take `limit` and `cursor`; `next_cursor` is null on the
last page. Send an `Idempotency-Key` with every POST: when the answer is lost, the same request gives the same
answer for 24 hours.
"""

_TAGS = (
    ("Payment intents", "What is owed, and what became of it."),
    ("Checkout", "What a payer sees of an intent, without a key."),
    ("Payment links", "Pages from which payers start payments of their own."),
    ("Transfers", "Money that arrived, and who gives it to an intent."),
    ("Webhook endpoints", "Where webhooks go."),
    ("Webhook deliveries", "Webhooks on their way."),
    ("Events", "What was sent to merchants."),
    ("Status", "How the daemon stands."),
    ("Merchants", "For operators, with the admin token: merchants and their keys."),
)


_SIGNATURES = (
    ("webhook-id", "The event's id, the same whenever it is sent again."),
    ("webhook-timestamp", "When it is sent, unix seconds; refuse what is older than five minutes."),
    ("webhook-signature", "`v1,` and the base64 HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks)."),
    ("x-webhook-signature", "`t=` unix seconds, `v1=` the hex HMAC-SHA256 over `t.body`."),
)


def install(app: FastAPI) -> None:
    """Serve the description of the application's routes."""
    _declare_webhooks(app)
    made: list[bytes] = []

    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        """Return the description."""
        if not made:
            made.append(json.dumps(describe_all(app), ensure_ascii=False, separators=(",", ":")).encode())
        return Response(made[0], media_type="application/json")


def _declare_webhooks(app: FastAPI) -> None:
    """Declare what is sent to endpoints: every type of event, and what to answer."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in _SIGNATURES
    ]
    answers: dict[int | str, dict[str, Any]] = {
        "2XX": {"description": "It is delivered; the answer's body is not read."},
        "410": {"description": "The endpoint is gone: it is disabled."},
        "default": {"description": "It is sent again later; `Retry-After` of 429 and 503 is kept to."},
    }
    for kind in EventType:
        app.webhooks.post(
            kind.value,
            operation_id=kind.value,
            summary=kind.value,
            tags=["Events"],
            status_code=204,
            responses=answers,
            openapi_extra={"parameters": headers, "security": []},
        )(_receive)


async def _receive(body: Event) -> None:
    """Verify the signature over the raw bytes, skip a known `id`, answer any 2xx within 15 seconds."""


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
        separate_input_output_schemas=False,
    )
    schemas = found["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs")
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's own, which no answer here has
        schemas.pop(name, None)
    _mend(found)
    return found


def _mend(node: Any) -> None:
    """Describe parameters as the texts they are, those of the form ``metadata[key]=text`` as such, leave out
    that a default is null, and write whole numbers as such.

    To generators a field with a default is one that is always there, and a limit with a point is a float.
    """
    if isinstance(node, list):
        for part in node:
            _mend(part)
    if not isinstance(node, dict):
        return
    if "default" in node and node["default"] is None:
        del node["default"]
    for name, value in node.items():
        if isinstance(value, float) and value.is_integer():
            node[name] = int(value)
    if node.get("in") in ("query", "header"):
        node["schema"] = _without_null(node["schema"])
    if node.get("in") == "query" and node["name"] == "metadata":
        node |= {"style": "deepObject", "explode": True}
    for part in node.values():
        _mend(part)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without null, which the framework adds where it can be left out."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return kinds[0] | rest if len(kinds) == 1 else {"anyOf": kinds} | rest
