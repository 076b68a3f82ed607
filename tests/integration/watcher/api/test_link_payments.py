"""Payers and payment links: forms, limits, passwords, two servers, who is counted, hostile input."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.api import link_payments
from watcher.api import link_views as link_views_of_process
from watcher.api.errors import Problem
from watcher.api.link_payments import LinkPayments
from watcher.errors import NotFound, Refused
from watcher.schemas import StartPayment
from watcher.store import link_views
from watcher.store.database import Database

TWO = {"sbtc": "50000", "stx": "25000000"}
ADDRESS = "203.0.113.7"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def links_of(api: ApiFixture) -> LinkPayments:
    assert api.server.api is not None
    return api.server.api.links


async def make(api: ApiFixture, **fields: Any) -> tuple[str, str]:
    """Create a link and return its id and code."""
    answer = await api.client.post("/v1/payment_links", json={"level": "included"} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["url"].removeprefix("/l/")


async def start(api: ApiFixture, code: str, *, address: str = ADDRESS, **said: Any) -> str:
    return await links_of(api).start(code, StartPayment.of(said), address=address)


async def uses(api: ApiFixture, link: str) -> int:
    return int((await api.client.get(f"/v1/payment_links/{link}")).json()["uses"])


async def views(api: ApiFixture, link: str) -> int:
    """Return how many people are counted, as soon as all are written."""
    assert api.server.api is not None
    await api.server.api.view_uses.write()
    statistics = await api.client.get(f"/v1/payment_links/{link}/statistics", params={"days": 1})
    return int(statistics.json()["views"])


async def post(api: ApiFixture, token: str, query: str = "", **fields: str) -> httpx.Response:
    return await api.stranger.post(f"/pay/{token}{query}", data=fields)


async def test_a_form_of_the_checkout_leads_to_another_asset(api: ApiFixture) -> None:
    """Without a script: a POST, a redirect in the same language; sent twice, it leads to the same."""
    link, code = await make(api, prices=TWO)
    token = await start(api, code, asset="sbtc")
    first, second = [await post(api, token, "?lang=de", asset="stx") for _ in range(2)]
    assert (first.status_code, first.headers["location"]) == (303, second.headers["location"])
    following, _, query = first.headers["location"].partition("?")
    assert (query, following != token) == ("lang=de", True)
    shown = (await api.stranger.get(f"/v1/checkout/{following}")).json()
    assert (shown["asset"], shown["amount"], shown["state"]) == ("stx", "25000000", "waiting")
    assert await uses(api, link) == 1
    page = await api.stranger.get(f"/pay/{token}")
    assert f'href="/pay/{following}"' in page.text


@pytest.mark.parametrize("fields", [{"asset": "usdcx"}, {"asset": "<script>"}, {"asset": "x" * 5000}])
async def test_a_form_that_cannot_be_granted_shows_how_it_stands(
    sqlite_api: ApiFixture, fields: dict[str, str]
) -> None:
    """The checkout itself says so, until something is granted; nothing has changed."""
    _, code = await make(sqlite_api, prices=TWO)
    token = await start(sqlite_api, code, asset="sbtc")
    for query in ("?lang=de", "?lang=de&unchanged="):
        answer = await post(sqlite_api, token, query, **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{token}?lang=de&unchanged=")
    page = await sqlite_api.stranger.get(f"/pay/{answer.headers['location']}")
    assert "Das war nicht möglich" in page.text
    assert "Das war nicht möglich" not in (await sqlite_api.stranger.get(f"/pay/{token}?lang=de")).text
    granted = await post(sqlite_api, token, "?lang=de&unchanged=", asset="sbtc")
    assert granted.headers["location"].partition("?")[2] == "lang=de"
    assert (await sqlite_api.stranger.get(f"/v1/checkout/{token}")).json()["state"] == "waiting"


async def test_starting_anew_what_still_waits_leads_back_to_it(sqlite_api: ApiFixture) -> None:
    """It is there to be paid already."""
    _, code = await make(sqlite_api, prices=TWO)
    token = await start(sqlite_api, code, asset="sbtc")
    answer = await post(sqlite_api, token)
    assert (answer.status_code, answer.headers["location"]) == (303, token)
    assert (await sqlite_api.stranger.get(f"/v1/checkout/{token}")).json()["state"] == "waiting"


async def test_a_form_to_no_checkout_is_a_page_that_says_so(sqlite_api: ApiFixture) -> None:
    """As the page itself would."""
    answer = await post(sqlite_api, "x" * 22, asset="stx")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


async def test_what_expired_is_started_anew_by_a_form(api: ApiFixture) -> None:
    """In place, at the link's price."""
    _, code = await make(api, amount="7000")
    token = await start(api, code)
    api.fixture.pass_time(3600 + 600 + 60)
    assert "Start again" in (await api.stranger.get(f"/pay/{token}")).text
    following = (await post(api, token, again="yes")).headers["location"]
    assert following != token
    assert (await api.stranger.get(f"/v1/checkout/{following}")).json()["state"] == "waiting"


# Limits


async def test_one_address_starts_so_many_payments_a_minute(sqlite_api: ApiFixture) -> None:
    """Others are not held up; whom the limit meets is told how long to wait."""
    link, code = await make(sqlite_api, amount="7000")
    for _ in range(link_payments.STARTS_OF_ADDRESS):
        await start(sqlite_api, code)
    with pytest.raises(Problem) as refused:
        await start(sqlite_api, code)
    assert (refused.value.status_code, "retry-after" in (refused.value.headers or {})) == (429, True)
    await start(sqlite_api, code, address="203.0.113.8")
    assert await uses(sqlite_api, link) == link_payments.STARTS_OF_ADDRESS + 1


async def test_a_password_opens_the_link_and_a_wrong_one_does_not(api: ApiFixture) -> None:
    """By itself or by the token that it brings; nothing is started otherwise."""
    link, code = await make(api, amount="7000", description="Lesson", password="Ångström")
    links = links_of(api)
    for said in ({}, {"password": "angstrom"}, {"unlock": "x"}):
        with pytest.raises(Refused) as refused:
            await start(api, code, **said)
        assert refused.value.code == "wrong_password"
    assert await uses(api, link) == 0
    # As another keyboard writes it: the letters and their marks apart.
    token = await links.unlock(code, "A\u030angstro\u0308m", address=ADDRESS)
    document, _ = await links.page(code, unlock=token)
    assert (document["locked"], document["description"]) == (False, "Lesson")
    await start(api, code, unlock=token)
    await start(api, code, password="Ångström")
    assert await uses(api, link) == 2


async def test_wrong_passwords_are_limited_by_address_and_right_ones_are_not(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many an hour; then even the right one waits, and another address does not."""
    _, code = await make(sqlite_api, amount="7000", password="right")
    links = links_of(sqlite_api)
    monkeypatch.setattr(link_payments.passwords, "is_password", lambda given, _stored: given == "right")
    for _ in range(3 * link_payments.ATTEMPTS_OF_ADDRESS):
        await links.unlock(code, "right", address=ADDRESS)
    for _ in range(link_payments.ATTEMPTS_OF_ADDRESS):
        with pytest.raises(Refused):
            await links.unlock(code, "wrong", address=ADDRESS)
    with pytest.raises(Problem) as refused:
        await links.unlock(code, "right", address=ADDRESS)
    assert refused.value.status_code == 429
    await links.unlock(code, "right", address="203.0.113.8")


async def test_who_knows_the_password_does_not_keep_the_server_busy(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comparison costs a tenth of a second: of one address there are so many a minute, of all links."""
    codes = [(await make(sqlite_api, amount="7000", password="right"))[1] for _ in range(2)]
    compared: list[str] = []
    monkeypatch.setattr(
        link_payments.passwords, "is_password", lambda given, _stored: not compared.append(given)
    )
    links, most = links_of(sqlite_api), link_payments.COMPARISONS_OF_ADDRESS
    for number in range(most):
        await links.unlock(codes[number % 2], "right", address=ADDRESS)
    with pytest.raises(Problem) as refused:
        await links.unlock(codes[0], "right", address=ADDRESS)
    assert (refused.value.status_code, len(compared)) == (429, most)
    await links.unlock(codes[0], "right", address="203.0.113.8")


async def test_wrong_passwords_of_many_addresses_are_limited_too(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has many addresses has no more attempts at one link; other links are not concerned."""
    _, code = await make(sqlite_api, amount="7000", password="right")
    _, other = await make(sqlite_api, amount="7000", password="right")
    links = links_of(sqlite_api)
    monkeypatch.setattr(link_payments.passwords, "is_password", lambda given, _stored: given == "right")
    for number in range(link_payments.ATTEMPTS_OF_LINK):
        with pytest.raises(Refused):
            await links.unlock(code, "wrong", address=f"address {number}")
    with pytest.raises(Problem):
        await links.unlock(code, "right", address="another")
    await links.unlock(other, "right", address="another")


async def test_many_attempts_at_once_count_before_they_are_compared(sqlite_api: ApiFixture) -> None:
    """A burst is not compared in full because none of it has failed yet."""
    _, code = await make(sqlite_api, amount="7000", password="right")
    tries = [links_of(sqlite_api).unlock(code, "wrong", address=ADDRESS) for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Refused) for result in results) == link_payments.ATTEMPTS_OF_ADDRESS
    assert sum(isinstance(result, Problem) for result in results) == 20 - link_payments.ATTEMPTS_OF_ADDRESS


async def test_a_link_without_a_password_takes_any(sqlite_api: ApiFixture) -> None:
    """There is nothing to guess, and nothing is counted."""
    _, code = await make(sqlite_api, amount="7000")
    for _ in range(2 * link_payments.ATTEMPTS_OF_ADDRESS):
        assert await links_of(sqlite_api).unlock(code, "x", address=ADDRESS) == ""


@pytest.mark.parametrize(
    "code", ["", "x", "'; --", "K7Q2M8ZR4T9C", "\U0001f355" * 500, "\x00", "K7Q2M8ZR4T9\x00", "\udc80"]
)
async def test_a_wrong_code_leads_nowhere(api: ApiFixture, code: str) -> None:
    """Whatever is asked of it, on both databases."""
    links = links_of(api)
    with pytest.raises(NotFound):
        await links.page(code)
    with pytest.raises(NotFound):
        await links.unlock(code, "x", address=ADDRESS)
    with pytest.raises(NotFound):
        await start(api, code, amount="5")


# Two processes


@pytest.fixture
async def two(api: ApiFixture) -> AsyncIterator[tuple[ApiFixture, ApiFixture]]:
    """Two servers on one database, each with connections and memory of its own, as two processes have."""
    second = LedgerFixture.__new__(LedgerFixture)
    second.__dict__ |= api.fixture.__dict__
    second.database = Database(api.fixture.settings.database_url)
    async with ApiFixture(second) as other:
        yield api, other
    second.database.close()


async def test_two_servers_do_not_share_the_last_use(two: tuple[ApiFixture, ApiFixture]) -> None:
    """What one of them has started is seen by the other before it starts another one."""
    one, other = two
    link, code = await make(one, amount="7000", max_uses=3)
    tries = [start(api, code, address=str(number)) for number in range(4) for api in (one, other)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 3
    assert {result.code for result in results if isinstance(result, Refused)} == {"link_used_up"}
    assert await uses(one, link) == 3


async def test_one_form_sent_to_two_servers_makes_one_payment(two: tuple[ApiFixture, ApiFixture]) -> None:
    """Behind a balancer, a double click reaches both."""
    one, other = two
    link, code = await make(one, amount="7000")
    tokens = await asyncio.gather(*(start(api, code, visit="v" * 22) for api in (one, other, one, other)))
    assert (len(set(tokens)), await uses(one, link)) == (1, 1)


async def test_a_visitor_of_two_servers_is_one(two: tuple[ApiFixture, ApiFixture]) -> None:
    """They have the day's key from the database; a restart has it too."""
    one, other = two
    link, code = await make(one, amount="7000")
    for api in (one, other):
        for visitor in ("203.0.113.7 Firefox", "203.0.113.8 Firefox", "203.0.113.7 Safari"):
            await links_of(api).page(code, visitor=visitor)
    await views(one, link)
    assert await views(other, link) == 3
    assert await views(one, link) == 3
    with one.fixture.database.read() as connection:
        assert link_views.days(connection, link).keys() == {int(one.fixture.clock() // 86_400)}


async def test_nothing_of_a_visitor_is_stored_but_a_hash(api: ApiFixture) -> None:
    """Neither address nor browser is in the database, and the same visitor differs from link to link."""
    one, other = await make(api, amount="7000"), await make(api, amount="7000")
    for _, code in (one, other):
        await links_of(api).page(code, visitor=f"{ADDRESS} {BROWSER}")
    assert (await views(api, one[0]), await views(api, other[0])) == (1, 1)
    with api.fixture.database.read() as connection:
        rows = connection.execute(link_views.visitor.select()).all()
    hashes = {bytes(row.hash) for row in rows}
    assert len(hashes) == 2
    assert {len(each) for each in hashes} == {16}


async def test_a_new_day_has_a_new_key_and_counts_anew(api: ApiFixture) -> None:
    """The same visitor cannot be followed from one day to the next."""
    link, code = await make(api, amount="7000")
    for _ in range(2):
        await links_of(api).page(code, visitor=f"{ADDRESS} {BROWSER}")
        await views(api, link)
        api.fixture.clock.now += 86_400
    with api.fixture.database.read() as connection:
        assert list(link_views.days(connection, link).values()) == [1, 1]
        hashes = [bytes(row.hash) for row in connection.execute(link_views.visitor.select())]
    assert len(set(hashes)) == 2


async def test_one_address_is_no_crowd(sqlite_api: ApiFixture) -> None:
    """Whoever says another browser's name each time is counted so many times an hour at most."""
    link, code = await make(sqlite_api, amount="7000")
    for number in range(link_views_of_process.VIEWS_OF_ADDRESS + 20):
        await links_of(sqlite_api).page(code, visitor=f"{ADDRESS} {number}")
    await links_of(sqlite_api).page(code, visitor=f"203.0.113.8 {BROWSER}")
    assert await views(sqlite_api, link) == link_views_of_process.VIEWS_OF_ADDRESS + 1
