"""What /openapi.json declares is what the server does, whatever it is sent: schemathesis makes up the
requests.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from tests.integration.watcher.api.all_routes import make_doomed, make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.api import checkout_stream

#: Requests per route: as declared and not, about things that are there and about made-up ones.
REQUESTS = {
    (GenerationMode.POSITIVE, True): 12,
    (GenerationMode.NEGATIVE, True): 8,
    (GenerationMode.POSITIVE, False): 4,
    (GenerationMode.NEGATIVE, False): 4,
}

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

#: Always the same requests; a new version of the libraries may make up others.
SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

#: Need more than chance to be right: the id of an intent, a dead delivery, and a payer's address.
NEVER = {
    "GET /v1/checkout/{token}/call",
    "POST /v1/transfers/{transfer_id}/assign",
    "POST /v1/webhook_deliveries/{delivery_id}/dismiss",
}

#: Works only when each of several made-up intents is right.
BY_CHANCE = {"POST /v1/payment_intents/bulk"}


def ask(
    url: str, document: dict[str, Any], ids: dict[str, str], doomed: dict[str, dict[str, str]], key: str
) -> tuple[Counter[str], list[str]]:
    """Send every route what it declares to take, and what not.

    Return how many requests to each route worked, and what was not as declared.
    """
    schema = schemathesis.openapi.from_dict(document)
    worked: Counter[str] = Counter()
    wrong: list[str] = []
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            session.headers["authorization"] = (
                f"Bearer {ADMIN if operation.path.startswith('/v1/admin/') else key}"
            )
            own = ids | doomed.get(operation.definition.raw["operationId"], {})
            names = {parameter.name for parameter in operation.path_parameters}
            for (mode, there), number in REQUESTS.items():
                fixed = {name: own[name] for name in names} if there and names else None
                cases = operation.as_strategy(generation_mode=mode, path_parameters=fixed)
                try:
                    _send(operation, cases, number, url, session, worked)
                except FailureGroup as failed:
                    wrong.append(f"{operation.label} ({mode}): {failed}")
    return worked, wrong


def _send(
    operation: Any,
    cases: st.SearchStrategy[Case],
    number: int,
    url: str,
    session: requests.Session,
    worked: Counter[str],
) -> None:
    @settings(SETTINGS, max_examples=number)
    @given(case=cases)
    def send(case: Case) -> None:
        answer = case.call_and_validate(base_url=url, session=session, checks=CHECKS, timeout=20)
        worked[operation.label] += answer.status_code < 300

    send()


@pytest.fixture
async def api(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(checkout_stream, "MAX_STREAM_SECONDS", 0.0)  # or no answer of it would ever end
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture, public_url="https://pay.example") as made:
        yield made
    fixture.database.close()


async def test_every_answer_is_as_declared(api: ApiFixture) -> None:
    ids = make_everything(api)
    document = (await api.stranger.get("/openapi.json")).json()
    worked, wrong = await asyncio.to_thread(ask, api.url, document, ids, make_doomed(api), api.key)
    assert not wrong, "\n".join(wrong)
    routes = {f"{method.upper()} {path}" for path, found in document["paths"].items() for method in found}
    assert NEVER <= {route for route in routes if not worked[route]} <= NEVER | BY_CHANCE
