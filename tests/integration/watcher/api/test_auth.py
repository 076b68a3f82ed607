"""Who may call: API keys with scopes, the admin token, and what everybody else is told."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.services import api_keys, merchants
from watcher.store.schema import api_key

LIST = "/v1/payment_intents"


async def get(api: ApiFixture, key: str | None) -> httpx.Response:
    async with api.as_key(key) as client:
        return await client.get(LIST)


async def test_no_key_is_401_and_told_how(api: ApiFixture) -> None:
    for client, path in ((api.stranger, LIST), (api.stranger, f"{LIST}/pi_X")):
        answer = await client.get(path)
        assert problem(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="sbtc-watcher"'
    assert problem(await api.stranger.post(LIST, content=b"{")) == (401, "unauthorized")


@pytest.mark.parametrize(
    "key", ["sk_live_" + "A" * 32, "x", "sk_live_é".encode().decode("latin-1"), "x" * 5000]
)
async def test_a_wrong_key_is_401(api: ApiFixture, key: str) -> None:
    answer = await api.stranger.get(LIST, headers=[(b"authorization", f"Bearer {key}".encode("latin-1"))])
    assert problem(answer) == (401, "unauthorized")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert key not in answer.text


@pytest.mark.parametrize("scheme", ["Basic", "Bearer  ", "", "Token"])
async def test_another_way_to_send_the_key_is_401(sqlite_api: ApiFixture, scheme: str) -> None:
    sent = f"{scheme} {sqlite_api.key if scheme.strip() != 'Bearer' else ''}".strip()
    answer = await sqlite_api.stranger.get(LIST, headers={"authorization": sent})
    assert problem(answer) == (401, "unauthorized")


async def test_two_keys_at_once_are_nobodys(sqlite_api: ApiFixture) -> None:
    sent = [("authorization", f"Bearer {key}") for key in (sqlite_api.key, sqlite_api.other_key)]
    assert problem(await sqlite_api.stranger.get(LIST, headers=sent)) == (401, "unauthorized")


async def test_the_scheme_may_be_in_any_case(sqlite_api: ApiFixture) -> None:
    answer = await sqlite_api.stranger.get(LIST, headers={"authorization": f"bearer {sqlite_api.key}"})
    assert answer.status_code == 200


async def test_a_key_does_what_its_scopes_say(api: ApiFixture) -> None:
    reading = api.add_key(api.merchant, scopes=["read"])
    writing = api.add_key(api.merchant, scopes=["write"])
    async with api.as_key(reading) as reader, api.as_key(writing) as writer:
        assert (await reader.get(LIST)).status_code == 200
        assert (await writer.post(LIST, json={"amount": 1})).status_code == 201
        refused = [await reader.post(LIST, json={"amount": 1}), await writer.get(LIST)]
        refused.append(await reader.post(f"{LIST}/pi_X/cancel"))
    for answer, scope in zip(refused, ("write", "read", "write"), strict=True):
        assert problem(answer) == (403, "missing_scope")
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]


async def test_a_revoked_key_is_refused_at_once(api: ApiFixture) -> None:
    second = api.add_key(api.merchant)
    assert (await get(api, second)).status_code == 200
    with api.fixture.database.begin() as connection:
        holder = api_keys.find_owner(connection, second, now=api.fixture.clock())
        assert holder is not None
        api_keys.revoke(connection, holder.key_id, now=api.fixture.clock())
    assert problem(await get(api, second)) == (401, "unauthorized")
    assert (await get(api, api.key)).status_code == 200


async def test_after_a_rotation_with_overlap_both_keys_work_until_it_ends(api: ApiFixture) -> None:
    with api.fixture.database.begin() as connection:
        network, now = api.fixture.settings.network, api.fixture.clock()
        _, fresh = api_keys.rotate(connection, network, api.merchant, overlap=3600, now=now)
    assert [(await get(api, key)).status_code for key in (api.key, fresh)] == [200, 200]
    api.fixture.clock.now += 3600
    assert [(await get(api, key)).status_code for key in (api.key, fresh)] == [401, 200]


async def test_a_disabled_merchants_keys_are_refused(api: ApiFixture) -> None:
    with api.fixture.database.begin() as connection:
        merchants.disable(connection, api.merchant, api.fixture.clock())
    assert problem(await get(api, api.key)) == (401, "unauthorized")


async def test_the_last_use_is_recorded_beside_not_by_the_request(api: ApiFixture) -> None:
    def last_use() -> Any:
        with api.fixture.database.read() as connection:
            query = select(api_key.c.last_used_at).where(api_key.c.merchant_id == api.merchant)
            return [used for used in connection.execute(query).scalars() if used is not None]

    assert (await api.client.get(LIST)).status_code == 200
    assert last_use() == []
    assert api.server.api is not None
    await api.server.api.key_uses.write()
    assert last_use() == [int(api.fixture.clock())]


async def test_a_stop_records_the_last_use(api: ApiFixture) -> None:
    await api.client.get(LIST)
    api.stop.set()
    async with asyncio.timeout(10):
        await asyncio.shield(api.serving)
    with api.fixture.database.read() as connection:
        assert [key for key in api_keys.of_merchant(connection, api.merchant) if key["last_used_at"]]


async def test_an_operators_token_is_no_merchants_key(api: ApiFixture) -> None:
    assert (await get(api, ADMIN)).status_code == 200
    for wrong in (ADMIN[:-1], ADMIN + "x", ADMIN.upper()):
        assert problem(await get(api, wrong)) == (401, "unauthorized")


async def test_without_the_setting_no_token_is_an_operators(fixture: LedgerFixture) -> None:
    async with ApiFixture(fixture, admin_token=None) as api:
        assert problem(await get(api, ADMIN)) == (401, "unauthorized")


@pytest.fixture
def fixture(tmp_path: Any) -> Any:
    made = LedgerFixture(tmp_path)
    yield made
    made.database.close()
