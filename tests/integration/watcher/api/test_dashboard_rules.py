"""What holds for every page and every act of the dashboard, whichever they are: the routes are asked of the
program.

A page that is added needs nothing here, unless its path has an id of a new kind: then :data:`IDS` or
``make_everything`` must know one.
"""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import update

from tests.integration.watcher.api.all_routes import make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import COOKIE, OURS, Browser
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.api.pages import dashboard
from watcher.api.pages.dashboard.route import DashboardRoute, OperatorRoute, OwnRoute
from watcher.store.schema import api_key, merchant

ROUTES = [route for router in dashboard.routers() for route in router.routes if isinstance(route, APIRoute)]
SIGNED_IN = [route for route in ROUTES if isinstance(route, DashboardRoute)]
PAGES = [route.path for route in SIGNED_IN if "GET" in route.methods]
ACTS = [route.path for route in SIGNED_IN if "POST" in route.methods]
CHANGES = [route.path for route in SIGNED_IN if "POST" in route.methods and not isinstance(route, OwnRoute)]
OPERATORS = [route.path for route in SIGNED_IN if isinstance(route, OperatorRoute)]

#: What ``make_everything`` does not make, by the names that paths have for it.
IDS = {
    "session_id": "ses_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
    "path": "nothing",
    "amount": "1",
    "to": PAYER,
    "form": "svg",
}

#: What else an address needs.
QUERIES = {"/call": f"?sender={SHOP}"}

HOSTILE = '"><script>alert(1)</script>\u202e{{7*7}}' + "x" * 400


@pytest.fixture
async def browser(sqlite_api: ApiFixture) -> AsyncIterator[Browser]:
    """Somebody who is not signed in."""
    made = Browser(sqlite_api)
    yield made
    await made.close()


def filled(path: str, ids: dict[str, str]) -> str:
    """Return a path with ids in it."""
    more = next((query for end, query in QUERIES.items() if path.endswith(end)), "")
    return re.sub(r"\{(\w+)(?::path)?\}", lambda found: (IDS | ids)[found[1]], path) + more


async def statuses(paths: list[str], ask: object, ids: dict[str, str]) -> dict[str, int]:
    """Return what each path answers."""
    return {path: (await ask(filled(path, ids))).status_code for path in paths}  # type: ignore[operator]


def test_there_are_pages_and_acts() -> None:
    """Else the tests below would say nothing."""
    assert {"/dashboard", "/dashboard/sessions", "/dashboard/keys"} <= set(PAGES)
    assert {"/dashboard/sign-out", "/dashboard/keys"} <= set(ACTS)
    assert {route.path for route in ROUTES} - set(PAGES) - set(ACTS) == {"/dashboard/sign-in"}
    assert {method for route in ROUTES for method in route.methods} == {"GET", "POST"}


async def test_without_a_session_no_page_shows_and_no_act_is_done(browser: Browser) -> None:
    ids = make_everything(browser.api)

    async def refresh(path: str) -> httpx.Response:
        return await browser.get(path, headers={"x-refresh": "1"})

    assert await statuses(PAGES, browser.get, ids) == dict.fromkeys(PAGES, 303)
    assert await statuses(PAGES, refresh, ids) == dict.fromkeys(PAGES, 401)
    assert await statuses(ACTS, lambda path: browser.post(path, {"token": "x"}), ids) == dict.fromkeys(
        ACTS, 401
    )


async def test_an_act_needs_the_token_of_its_session(browser: Browser) -> None:
    ids = make_everything(browser.api)
    await browser.sign_in(browser.api.key)
    other = Browser(browser.api)
    await other.sign_in(browser.api.key)
    for token in ("", "x", "x.y", await other.token(), (await browser.token()) + "0", "ä.ö"):
        answers = await statuses(ACTS, lambda path, token=token: browser.post(path, {"token": token}), ids)
        assert answers == dict.fromkeys(ACTS, 403)
    await other.close()


async def test_an_act_needs_a_page_of_ours(browser: Browser) -> None:
    """Even one that has the token."""
    ids = make_everything(browser.api)
    await browser.sign_in(browser.api.key)
    fields = {"token": await browser.token()}
    for headers in ({}, {"origin": "https://evil.example"}, OURS | {"sec-fetch-site": "cross-site"}):
        answers = await statuses(
            ACTS,
            lambda path, headers=headers: browser.client.post(path, data=fields, headers=headers),
            ids,
        )
        assert answers == dict.fromkeys(ACTS, 403)


async def test_who_only_reads_cannot_act(browser: Browser) -> None:
    """On any route, and no page has a button for it."""
    ids = make_everything(browser.api)
    await browser.sign_in(browser.api.add_key(browser.api.merchant, scopes=["read"]))
    fields = {"token": await browser.token()}
    answers = await statuses(CHANGES, lambda path: browser.post(path, fields), ids)
    assert answers == dict.fromkeys(CHANGES, 403)
    acts = {}
    for path in PAGES:
        html = (await browser.get(filled(path, ids))).text
        forms = re.findall(
            r'<form method="post" action="[./]*dashboard/([^"]*)"(.*?)</form>', html, re.DOTALL
        )
        acts[path] = {action for action, inside in forms if "<button" in inside} - {"sign-out"}
    assert {path: found for path, found in acts.items() if found} == {}


async def test_what_is_another_merchants_is_not_there(browser: Browser) -> None:
    ids = make_everything(browser.api)
    await browser.sign_in(browser.api.other_key)
    with_ids = [path for path in PAGES if "{" in path]
    assert await statuses(with_ids, browser.get, ids) == dict.fromkeys(with_ids, 404)
    fields = {"token": await browser.token(), "reason": "mine", "intent": ids["intent_id"]}
    changes = [path for path in CHANGES if "{" in path]
    answers = await statuses(changes, lambda path: browser.post(path, fields), ids)
    assert {path: status for path, status in answers.items() if status not in (404, 422)} == {}


async def test_what_is_for_operators_is_not_there_for_merchants(browser: Browser) -> None:
    ids = make_everything(browser.api)
    await browser.sign_in(browser.api.key)
    assert OPERATORS
    fields = {"token": await browser.token()}
    for path in OPERATORS:
        ask = browser.get(filled(path, ids)) if path in PAGES else browser.post(filled(path, ids), fields)
        assert (await ask).status_code == 404, path


@pytest.mark.parametrize("who", ["merchant", "reader", "operator", "viewing"])
async def test_every_page_is_shown_safely(browser: Browser, who: str) -> None:
    """To everybody, and whatever texts strangers and merchants chose: nothing of them is a page's own."""
    api = browser.api
    ids = make_everything(api)
    with api.fixture.database.begin() as connection:
        connection.execute(update(merchant).values(name=HOSTILE, display_name=HOSTILE))
        connection.execute(update(api_key).values(name=HOSTILE))
    browser.client.headers["user-agent"] = '"><script>alert(1)</script>'
    keys = {"merchant": api.key, "reader": api.add_key(api.merchant, scopes=["read"])}
    await browser.sign_in(keys.get(who, ADMIN))
    if who == "viewing":
        answer = await browser.send("/dashboard/merchants", f"merchants/{api.merchant}/view")
        assert answer.status_code == 303
    for path in PAGES:
        answer = await browser.get(filled(path, ids))
        expected = 404 if path.endswith("{path:path}") else 200
        if path in OPERATORS and who in keys:
            expected = 404
        if not answer.headers["content-type"].startswith("text/html"):  # data for programs, and pictures
            assert answer.status_code == 200, path
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            continue
        if who == "operator" and answer.status_code == 409:
            assert "Choose a merchant" in answer.text, path
            expected = 409
        assert answer.status_code == expected, (path, answer.text)
        check_headers(answer)
        assert "<script>alert" not in answer.text, path
        assert not re.search(r"\son\w+=|javascript:|<style|\sstyle=|<script(?! src=)", answer.text), path
        assert len(re.findall("<h1[ >]", answer.text)) == 1, path


def check_headers(answer: httpx.Response) -> None:
    """See that nothing keeps a page, frames it, or runs what is not ours."""
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert "base-uri 'none'" in policy


async def test_what_goes_wrong_is_a_page(browser: Browser) -> None:
    """In the layout of the dashboard, with its headers."""
    await browser.sign_in(browser.api.key)
    for path, status in (("/dashboard/nothing", 404), ("/dashboard/sessions?cursor=nonsense!", 422)):
        answer = await browser.get(path)
        assert answer.status_code == status
        assert "Sign out" in answer.text
        check_headers(answer)
    answer = await browser.client.post(
        "/dashboard/sign-out", content=b"\xff=%ff", headers={**OURS, "content-type": "application/json"}
    )
    assert answer.status_code == 415
    kind = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"\xff=1", b"a=%ff", b"&".join([b"a=1"] * 300), b"a=%00"):
        answer = await browser.client.post("/dashboard/sign-out", content=body, headers={**OURS, **kind})
        assert answer.status_code == 400, body
    answer = await browser.client.post(
        "/dashboard/sign-out", content=b"a=" + b"x" * 70_000, headers={**OURS, **kind}
    )
    assert answer.status_code == 413


async def test_a_slash_at_the_end_leads_to_the_overview(browser: Browser) -> None:
    await browser.sign_in(browser.api.key)
    answer = await browser.get("/dashboard/")
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard")


async def test_the_database_that_does_not_answer_is_a_page(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is a mistake of ours, which tells nothing."""
    await browser.sign_in(browser.api.key)
    runner = browser.api.server.api
    assert runner is not None

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(runner, "read_with", broken)
    answer = await browser.get("/dashboard/sessions")
    assert answer.status_code == 500
    assert "Sign out" in answer.text
    assert "secret" not in answer.text
    check_headers(answer)
    with browser.api.fixture.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dashboard_session RENAME TO gone")
    answer = await browser.get("/dashboard/sessions")
    assert answer.status_code in (500, 503)
    check_headers(answer)


async def test_a_session_that_asks_too_often_waits(browser: Browser) -> None:
    from watcher.api.rate_limit import RateLimit

    await browser.sign_in(browser.api.key)
    runner = browser.api.server.api
    assert runner is not None
    runner.rate_limit = RateLimit(1, clock=lambda: 0.0)
    assert [(await browser.get("/dashboard")).status_code for _ in range(2)] == [200, 429]


async def test_every_section_of_the_navigation_is_there(browser: Browser) -> None:
    await browser.sign_in(ADMIN)
    html = (await browser.get("/dashboard/sessions")).text
    links = set(re.findall(r'<a href="\.\./(dashboard[^"#]*)"', html))
    assert len(links) >= 10
    assert {link for link in links if (await browser.get(f"/{link}")).status_code != 200} == set()
    assert browser.client.cookies.get(COOKIE)
