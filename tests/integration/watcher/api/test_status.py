"""The status over HTTP: all of it for an operator, for a merchant what concerns it."""

import re

from sqlalchemy import event, update

from chain.testing import txs
from notifier.schema import delivery, endpoint
from tests.integration.watcher.api.all_routes import add_endpoint, make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, OTHER, ApiFixture, problem
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher import schemas
from watcher.services import status as status_service
from watcher.store.chain_state import Halt
from watcher.store.schema import NEEDS_ATTENTION

SOURCE = {
    "url": "https://user:hidden@node.internal:3999/key-in-path",
    "state": "down",
    "version": "9",
    "tip_height": 100,
    "latency_ms": 1,
    "errors": 3,
    "note": "node.internal refused the connection",
}


async def test_an_operator_sees_all_of_it(api: ApiFixture) -> None:
    make_everything(api)
    async with api.as_key(ADMIN) as operator:
        found = (await operator.get("/v1/status")).json()
    assert schemas.ServerStatus.model_validate(found).model_dump(mode="json") == found
    expected = status_service.status(api.fixture.database, api.fixture.settings, now=api.fixture.clock())
    same = ("intents", "outbox", "database", "sources", "unmatched", "reindex", "follower")
    for name in set(same) - {"outbox"}:
        assert found[name] == expected[name], name
    assert found["outbox"]["pending"] == expected["outbox"]["pending"] > 0


async def test_a_merchant_sees_its_own_counts_and_the_same_shape(api: ApiFixture) -> None:
    make_everything(api)
    api.fixture.create(api.other_merchant)
    api.fixture.mine(txs.sbtc_transfer(PAYER, OTHER, 5, b"X"), txs.sbtc_transfer(PAYER, SHOP, 5, b"inv-1"))
    add_endpoint(api, api.other_merchant)
    with api.fixture.database.begin() as connection:
        connection.execute(update(endpoint).where(endpoint.c.merchant == api.merchant).values(failed=3))
    async with api.as_key(ADMIN) as operator, api.as_key(api.other_key) as other:
        all_of_it = (await operator.get("/v1/status")).json()
        mine = (await api.client.get("/v1/status")).json()
        theirs = (await other.get("/v1/status")).json()
    assert schemas.ServerStatus.model_validate(mine).model_dump(mode="json") == mine
    assert list(mine) == list(theirs) == list(all_of_it)
    assert (mine["intents"]["succeeded"], mine["intents"]["pending"]) == (1, 0)
    assert (theirs["intents"]["succeeded"], theirs["intents"]["pending"]) == (0, 1)
    assert all_of_it["intents"]["succeeded"] == all_of_it["intents"]["pending"] == 1
    assert (mine["attention"], theirs["attention"], all_of_it["attention"]) == (1, 0, 1)
    assert (mine["unmatched"], theirs["unmatched"], all_of_it["unmatched"]) == (1, 1, 2)
    assert mine["oldest_pending"] is None
    assert theirs["oldest_pending"] == all_of_it["oldest_pending"]
    assert mine["outbox"]["pending"] == all_of_it["outbox"]["pending"] > 0
    assert len(mine["outbox"]["failing_endpoints"]) == 1
    assert theirs["outbox"] == {
        "pending": 0,
        "oldest_seconds": None,
        "dead": 0,
        "held": 0,
        "failing_endpoints": [],
        "bulk_changes": [],
    }
    assert "1 webhook endpoint fails" in [reason["message"] for reason in mine["reasons"]]
    assert theirs["reasons"] == []


async def test_a_merchants_dead_held_and_disabled_ones_are_his(api: ApiFixture) -> None:
    ids = make_everything(api)
    with api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="dead", next_attempt_at=None))
        connection.execute(update(delivery).where(delivery.c.id == ids["delivery_id"]).values(status="held"))
        connection.execute(update(endpoint).values(status="disabled", disabled_reason="failing"))
    mine = (await api.client.get("/v1/status")).json()
    async with api.as_key(ADMIN) as operator:
        all_of_it = (await operator.get("/v1/status")).json()
    assert mine["outbox"] == all_of_it["outbox"]
    assert mine["outbox"]["held"] == 1
    assert mine["outbox"]["dead"] > 0
    [disabled] = [reason for reason in mine["reasons"] if ids["endpoint_id"] in reason["message"]]
    assert disabled["hint"] == "once mended: enable it"


async def test_a_merchant_learns_nothing_of_the_operators_machines(api: ApiFixture) -> None:
    halt = Halt(code="reorg_too_deep", message="node.internal says otherwise", hint="sbtc-watcher accept …")
    api.fixture.ledger.record_poll(tip=None, sources=[SOURCE], halt=halt)
    answer = await api.client.get("/v1/status")
    found = answer.json()
    assert found["state"] == "halted"
    assert found["halted"]["code"] == "reorg_too_deep"
    [source] = found["sources"]
    assert (source["url"], source["state"], source["errors"]) == ("#1", "down", 3)
    assert [reason["code"] for reason in found["reasons"]] == ["halted", "source_failing"]
    assert found["reasons"][1]["message"] == "source #1 is down"
    assert (found["database"]["url"], found["database"]["bytes"]) == (None, None)
    for secret in ("hidden", "internal", "key-in-path", "accept", str(api.fixture.folder)):
        assert secret not in answer.text
    async with api.as_key(ADMIN) as operator:
        assert SOURCE["url"] in (await operator.get("/v1/status")).text


async def test_a_merchants_status_scans_no_big_table(api: ApiFixture) -> None:
    """What it costs does not grow with other merchants' intents, nor with its own: they are counted as they
    change.
    """
    asked = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(api.fixture.database.engine, "before_cursor_execute", note)
    assert (await api.client.get("/v1/status")).status_code == 200
    event.remove(api.fixture.database.engine, "before_cursor_execute", note)
    counts = [one for one in asked if "count(*)" in one and "FROM intent" in one]
    # Those that are due, or set aside, are found by their indexes.
    woken = [one for one in counts if re.search(r"WHERE .*intent\.wake_\w+ IS NOT NULL", one, re.DOTALL)]
    # Those that call for a person are found by theirs: the condition is spelled as in it.
    spelled = [NEEDS_ATTENTION.format(find=find) for find in ("instr", "strpos")]
    assert all(any(text in one for text in spelled) for one in counts if one not in woken)
    assert (len(counts), len(woken)) == (3, 2)


async def test_a_status_needs_a_key_and_takes_no_parameters(sqlite_api: ApiFixture) -> None:
    assert problem(await sqlite_api.stranger.get("/v1/status")) == (401, "unauthorized")
    assert problem(await sqlite_api.client.get("/v1/status?all=1")) == (422, "validation")
