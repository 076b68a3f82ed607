"""The description at /openapi.json and the page at /docs: complete, true to the answers, and without a
network.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from notifier.events import EventType
from tests.integration.watcher.api.api_fixture import ApiFixture, problem
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher import schemas as schema_models
from watcher.api import docs
from watcher.api.server import HttpServer
from watcher.config.settings import Settings
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager

SIGNATURES = {"webhook-id", "webhook-timestamp", "webhook-signature", "x-webhook-signature"}

HTTP = {"get", "post", "patch", "delete"}

#: Routes that ask for no key.
OPEN = ("/v1/checkout/",)


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(part)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def described(api: ApiFixture) -> dict[str, Any]:
    answer = await api.stranger.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json()
    return found


async def test_the_description_is_openapi_3_1_and_every_reference_leads_somewhere(
    sqlite_api: ApiFixture,
) -> None:
    description = await described(sqlite_api)
    assert description["openapi"].startswith("3.1")
    schemas = description["components"]["schemas"]
    for reference in references(description):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


async def test_every_operation_declares_its_answers_errors_headers_and_tag(sqlite_api: ApiFixture) -> None:
    description = await described(sqlite_api)
    tags = {tag["name"] for tag in description["tags"]}
    found = list(operations(description))
    assert found
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(set(ids)) == len(ids)
    for path, method, operation in found:
        where = f"{method} {path}"
        assert method in HTTP, where
        assert operation["summary"], where
        assert operation["description"], where
        assert set(operation["tags"]) <= tags, where
        answers = operation["responses"]
        assert {"422", "429", "500", "503"} <= set(answers), where
        if path.startswith(OPEN):
            assert operation["security"] == [], where
            assert {"401", "403"}.isdisjoint(answers), where
        else:
            assert operation["security"], where
            assert {"401", "403"} <= set(answers), where
            assert "WWW-Authenticate" in answers["401"]["headers"], where
        stream = path.endswith("/{token}/events")
        if method != "get":
            assert {"400", "408", "409", "413", "415"} <= set(answers), where
            assert "Idempotency-Key" in {p["name"] for p in operation["parameters"]}, where
        else:
            assert ("304" in answers) is not stream, where
        if "{" in path:
            assert "404" in answers, where
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"], where
            assert answer["description"], where
            if status == "304":
                continue
            known = "text/event-stream" if stream else "application/json"
            kinds = ["image/svg+xml", "image/png"] if path.endswith("/qr") else [known]
            kinds = kinds if status < "300" else ["application/problem+json"]
            assert list(answer["content"]) == kinds, (where, status)
            assert all(answer["content"][kind]["schema"] for kind in kinds), (where, status)
        assert "Retry-After" in answers["429"]["headers"], where


async def test_every_type_of_event_is_described_as_a_webhook(sqlite_api: ApiFixture) -> None:
    description = await described(sqlite_api)
    assert set(description["webhooks"]) == {kind.value for kind in EventType}
    for webhook in description["webhooks"].values():
        schema = webhook["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Event"}
        assert {"2XX", "410", "default"} <= set(webhook["post"]["responses"])
        assert {parameter["name"] for parameter in webhook["post"]["parameters"]} == SIGNATURES


async def test_generators_get_servers_and_optional_fields(sqlite_api: ApiFixture) -> None:
    """To them a field with a default, be it null, is one that is always there."""
    description = await described(sqlite_api)
    assert description["servers"] == [{"url": "/", "description": "This server."}]
    assert not [node for node in nodes(description) if node.get("default", 0) is None]
    request = description["components"]["schemas"]["NewPaymentIntent"]
    assert request["required"] == ["amount"]


async def test_limits_are_whole_numbers_and_the_largest_amount_is_exact(sqlite_api: ApiFixture) -> None:
    """A number with a point is read as a float, which cannot hold what an amount can be."""
    text = (await sqlite_api.stranger.get("/openapi.json")).text
    found = dict.fromkeys(re.findall(r'"((?:exclusiveM|m)(?:ax|in)imum)":([-+.e0-9]+)', text))
    assert found
    assert [(name, number) for name, number in found if not number.isdigit()] == []
    assert ("exclusiveMaximum", str(2**128)) in found


async def test_no_parameter_is_said_to_be_null_and_operators_are_let_in(sqlite_api: ApiFixture) -> None:
    """A URL and a header have texts only; an operator's token opens the merchants' routes too."""
    for path, method, operation in operations(await described(sqlite_api)):
        for parameter in operation["parameters"]:
            assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), (method, path, parameter)
        if path.startswith(OPEN):
            continue
        schemes = [name for way in operation["security"] for name in way]
        admin = path.startswith("/v1/admin/")
        assert schemes == (["admin_token"] if admin else ["api_key", "admin_token"]), (method, path)


async def test_every_parameter_in_the_path_is_declared_once(sqlite_api: ApiFixture) -> None:
    for path, method, operation in operations(await described(sqlite_api)):
        declared = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
        assert sorted(declared) == sorted(re.findall(r"{(\w+)}", path)), (method, path)
        names = [(p["in"], p["name"]) for p in operation["parameters"]]
        assert len(set(names)) == len(names), (method, path)


def test_every_example_is_what_its_model_declares() -> None:
    seen = 0
    for name in schema_models.__all__:
        model = getattr(schema_models, name)
        if not issubclass(model, BaseModel):
            continue
        for example in (model.model_config.get("json_schema_extra") or {}).get("examples", ()):
            written = model.model_validate(example).model_dump(mode="json", exclude_unset=True)
            assert written == example, name
            seen += 1
    assert seen > 10


def test_amounts_and_times_are_numbers_and_moments_in_python() -> None:
    [example] = schema_models.PaymentIntent.model_config["json_schema_extra"]["examples"]  # type: ignore[index,call-overload]
    intent = schema_models.PaymentIntent.model_validate(example)
    assert intent.amount == 50_000
    assert intent.created_at.utcoffset() is not None
    assert schema_models.PaymentIntent.model_validate({**example, "later_field": 1}) == intent


async def test_the_page_needs_nothing_from_elsewhere(sqlite_api: ApiFixture) -> None:
    page = await sqlite_api.stranger.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.text.replace("<!doctype", "")
    wanted = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert sorted(wanted) == sorted(f"docs/{name}" for name in docs.ASSETS)
    for name, kind in docs.ASSETS.items():
        asset = await sqlite_api.stranger.get(f"/docs/{name}")
        assert (asset.status_code, asset.headers["content-type"]) == (200, kind)
        assert asset.content
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "http" not in policy


def test_the_pages_files_come_with_their_licence() -> None:
    folder = files("watcher.api").joinpath("assets")
    assert "Apache License" in folder.joinpath("LICENSE").read_text()
    assert "SmartBear" in folder.joinpath("NOTICE").read_text()


async def test_without_the_role_there_is_no_api_no_description_and_no_page(tmp_path: Path) -> None:
    fixture = LedgerFixture(tmp_path)
    settings = Settings(database_url=fixture.settings.database_url, http_bind="127.0.0.1:0")
    with HttpServer(settings, fixture.database, Liveness(ServiceManager(), rest=1.0), Metrics()) as server:
        assert server.api is None
    fixture.database.close()


@pytest.mark.parametrize("path", ["/docs/nothing.js", "/docs/..%2fdocs.py", "/redoc"])
async def test_no_other_file_is_served(sqlite_api: ApiFixture, path: str) -> None:
    assert problem(await sqlite_api.stranger.get(path)) == (404, "not_found")
