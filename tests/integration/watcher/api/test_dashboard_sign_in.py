"""Signing in to the dashboard over HTTP: cookies, forms, and what strangers try."""

import re
from collections.abc import AsyncIterator

import pytest

from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import COOKIE, OURS, Browser
from watcher.api.rate_limit import RateLimit
from watcher.api.transactions import SIGN_INS_OF_ADDRESS
from watcher.schemas import NewLoginLink
from watcher.services import dashboard_sessions

OTHER_SITE = "https://evil.example"


@pytest.fixture
async def browser(sqlite_api: ApiFixture) -> AsyncIterator[Browser]:
    """Somebody who is not signed in."""
    made = Browser(sqlite_api)
    yield made
    await made.close()


def link_of(api: ApiFixture, **more: object) -> str:
    """Return the path of a login link of the merchant."""
    with api.fixture.services() as services:
        return str(services.add_login_link(api.merchant, NewLoginLink.of(more))["path"])


async def test_who_is_not_signed_in_is_led_to_the_sign_in(browser: Browser) -> None:
    answer = await browser.get("/dashboard/sessions?cursor=x")
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where == "../dashboard/sign-in?next=%2Fdashboard%2Fsessions%3Fcursor%3Dx"
    assert "set-cookie" not in answer.headers


async def test_a_key_signs_in_and_leads_on(browser: Browser) -> None:
    answer = await browser.post(
        "/dashboard/sign-in", {"key": f" {browser.api.key}\n", "next": "/dashboard/sessions?cursor=x"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard/sessions?cursor=x")
    page = await browser.get("/dashboard")
    assert page.status_code == 200
    assert "<bdi>Shop</bdi>" in page.text


async def test_a_wrong_key_is_told_without_saying_why(browser: Browser) -> None:
    answer = await browser.post("/dashboard/sign-in", {"key": "sk_live_" + "x" * 32})
    assert answer.status_code == 401
    assert "not a valid key" in answer.text
    assert "x" * 32 not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "name", "secure"),
    [
        ({}, COOKIE, False),
        ({"host": "pay.example", "origin": "https://pay.example"}, f"__Host-{COOKIE}", True),
        ({"host": "pay.example", "origin": "null"}, f"__Host-{COOKIE}", True),
    ],
)
async def test_the_cookie_is_kept_from_scripts_other_sites_and_clear_text(
    browser: Browser, headers: dict[str, str], name: str, secure: bool
) -> None:
    """By https always with the prefix that binds it to the host; plain only on the machine itself."""
    answer = await browser.post("/dashboard/sign-in", {"key": browser.api.key}, **headers)
    given, *attributes = answer.headers["set-cookie"].split("; ")
    assert re.fullmatch(rf"{name}=[A-Za-z0-9_-]{{43}}", given)
    expected = {"httponly", "path=/", "samesite=strict"} | ({"secure"} if secure else set())
    assert {one.lower() for one in attributes} == expected


async def test_http_from_elsewhere_is_refused_and_the_browser_told_to_send_nothing(
    browser: Browser,
) -> None:
    """The page's policy lets its form go to https only, except on the machine itself."""
    page = await browser.get("/dashboard/sign-in", headers={"host": "192.168.1.5:8420"})
    assert "form-action https:;" in page.headers["content-security-policy"]
    assert 'id="unencrypted"' in page.text
    page = await browser.get("/dashboard/sign-in")
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert 'id="unencrypted"' not in page.text
    answer = await browser.post(
        "/dashboard/sign-in",
        {"key": browser.api.key},
        host="192.168.1.5:8420",
        origin="http://192.168.1.5:8420",
    )
    assert answer.status_code == 400
    assert "https" in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_plain_cookie_counts_only_on_the_machine_itself(browser: Browser) -> None:
    """A page on a neighbouring host could set one."""
    await browser.sign_in(browser.api.key)
    assert (await browser.get("/dashboard")).status_code == 200
    answer = await browser.get("/dashboard", headers={"host": "pay.example"})
    assert answer.status_code == 303
    for cookie in (f"__Host-{COOKIE}", COOKIE):
        for host in ("pay.example", "["):
            headers = {"host": host, "cookie": f"{cookie}={browser.secret}"}
            answer = await browser.api.stranger.get("/dashboard", headers=headers)
            assert answer.status_code == (200 if cookie.startswith("__") else 303)


async def test_a_session_that_somebody_else_chose_is_not_taken(browser: Browser) -> None:
    """Session fixation: signing in always makes another secret, and ends what the browser had before."""
    chosen = "A" * 43
    browser.client.cookies.set(COOKIE, chosen, domain="127.0.0.1")
    await browser.sign_in(browser.api.key)
    first = browser.secret
    assert first != chosen
    await browser.sign_in(browser.api.key)
    assert browser.secret != first
    answer = await browser.api.stranger.get("/dashboard", headers={"cookie": f"{COOKIE}={first}"})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.example/", "//evil.example", "/\\evil.example", "/dashboard/../pay/x", "/dashboardx"),
        *("javascript:alert(1)", "/dashboard//evil.example/..", "/dashboard\r\nx: y", "dashboard", "/pay/x"),
        *("/dashboard/%2e%2e/", "\x00", "/dashboard@evil.example"),
    ],
)
async def test_nobody_is_led_elsewhere(browser: Browser, wanted: str) -> None:
    answer = await browser.post("/dashboard/sign-in", {"key": browser.api.key, "next": wanted})
    if "\0" in wanted:
        assert answer.status_code == 400
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": OTHER_SITE, "sec-fetch-site": "cross-site"},
        {"origin": OTHER_SITE, "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": OTHER_SITE},
        {"origin": "null"},
        {"origin": "http://["},
        {},
    ],
)
async def test_forms_of_other_sites_are_refused(browser: Browser, headers: dict[str, str]) -> None:
    """Also the one that signs in: nobody is signed in as somebody else by a page they visit."""
    answer = await browser.client.post("/dashboard/sign-in", data={"key": browser.api.key}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    await browser.sign_in(browser.api.key)
    fields = {"token": await browser.token()}
    answer = await browser.client.post("/dashboard/sign-out", data=fields, headers=headers)
    assert answer.status_code == 403
    assert (await browser.get("/dashboard")).status_code == 200


async def test_one_of_the_two_headers_is_enough(browser: Browser) -> None:
    """Browsers leave the first out by plain http to other machines, and the second by some policies."""
    for headers in ({"origin": browser.api.url}, OURS):
        answer = await browser.client.post(
            "/dashboard/sign-in", data={"key": browser.api.key}, headers=headers
        )
        assert answer.status_code == 303


async def test_the_address_in_the_settings_is_ours_behind_a_proxy_that_names_another_host(
    browser: Browser,
) -> None:
    settings = browser.api.server.api
    assert settings is not None
    object.__setattr__(
        settings, "settings", settings.settings.model_copy(update={"public_url": "https://pay.example/base"})
    )
    answer = await browser.post("/dashboard/sign-in", {"key": browser.api.key}, origin="https://pay.example")
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith(f"__Host-{COOKIE}=")


async def test_a_link_asks_first_and_works_once(browser: Browser) -> None:
    """What shows a preview of it uses up nothing."""
    path = link_of(browser.api)
    for _ in range(3):
        page = await browser.get(path)
        assert page.status_code == 200
        assert "<bdi>Shop</bdi>" in page.text
        assert "set-cookie" not in page.headers
        assert page.headers["referrer-policy"] == "same-origin"
    fields = {"link": path.partition("link=")[2]}
    answer = await browser.post("/dashboard/sign-in", fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard")
    assert (await browser.get("/dashboard")).status_code == 200
    assert (await browser.get(path)).status_code == 410
    again = await browser.post("/dashboard/sign-in", fields)
    assert again.status_code == 410
    assert "used before" in again.text


async def test_a_cookie_of_another_name_is_taken_back_at_the_sign_in(browser: Browser) -> None:
    """Else it would go before the new one: on the machine itself browsers send both."""
    headers = {"cookie": f"__Host-{COOKIE}={'A' * 43}; other=1"}
    answer = await browser.post("/dashboard/sign-in", {"key": browser.api.key}, **headers)
    taken, given = answer.headers.get_list("set-cookie")
    assert taken.startswith(f'__Host-{COOKIE}="";')
    assert "Max-Age=0" in taken
    assert given.startswith(f"{COOKIE}=")


async def test_signing_out_ends_the_session_everywhere(browser: Browser) -> None:
    await browser.sign_in(browser.api.key)
    secret = browser.secret
    answer = await browser.send("/dashboard", "sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard/sign-in")
    assert [one for one in answer.headers.get_list("set-cookie") if "Max-Age=0" not in one] == []
    stolen = await browser.api.stranger.get("/dashboard", headers={"cookie": f"{COOKIE}={secret}"})
    assert stolen.status_code == 303


async def test_attempts_are_limited_per_address(browser: Browser) -> None:
    """A proxy of our own network says whom it speaks for; of IPv6 the network counts."""

    runner = browser.api.server.api
    assert runner is not None
    runner.sign_in_limit = RateLimit(SIGN_INS_OF_ADDRESS, clock=lambda: 0.0)

    async def attempt(address: str) -> int:
        answer = await browser.post("/dashboard/sign-in", {"key": "x"}, **{"x-forwarded-for": address})
        return answer.status_code

    assert [await attempt("192.0.2.1") for _ in range(11)] == [401] * 10 + [429]
    assert await attempt("192.0.2.2") == 401
    assert [await attempt(f"2001:db8::{n}") for n in range(11)] == [401] * 10 + [429]
    assert await attempt("2001:db8:0:1::1") == 401
    answer = await browser.post(
        "/dashboard/sign-in", {"key": browser.api.key}, **{"x-forwarded-for": "192.0.2.1"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert int(answer.headers["retry-after"]) > 0


async def test_attempts_are_limited_altogether(browser: Browser) -> None:
    runner = browser.api.server.api
    assert runner is not None
    runner.sign_in_limit_of_all = RateLimit(1, clock=lambda: 0.0)
    assert (await browser.post("/dashboard/sign-in", {"key": "x"})).status_code == 401
    assert (await browser.post("/dashboard/sign-in", {"key": browser.api.key})).status_code == 429


async def test_no_secret_is_in_a_log(browser: Browser, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the key, nor the link's, nor the session's."""
    path = link_of(browser.api)
    await browser.get(path)
    await browser.post("/dashboard/sign-in", {"link": path.partition("link=")[2]})
    first = browser.secret
    await browser.sign_in(ADMIN)
    await browser.get("/dashboard")
    await browser.post("/dashboard/sign-in", {"key": "sk_live_" + "y" * 32})
    out, err = capfd.readouterr()
    logged = out + err
    assert "/dashboard/sign-in" in logged
    for secret in (path.partition("link=")[2], first, browser.secret, ADMIN, "y" * 32):
        assert secret not in logged


async def test_a_key_that_is_revoked_ends_the_session_at_the_next_request(browser: Browser) -> None:
    await browser.sign_in(browser.api.key)
    token = await browser.token()
    with browser.api.fixture.services() as services:
        [key] = [
            one for one in services.merchant_keys(browser.api.merchant)["data"] if one["status"] == "active"
        ][:1]
        for one in services.merchant_keys(browser.api.merchant)["data"]:
            services.revoke_merchant_key(browser.api.merchant, one["id"])
    assert key
    assert (await browser.get("/dashboard")).status_code == 303
    answer = await browser.post("/dashboard/sign-out", {"token": token})
    assert answer.status_code == 401
    assert "Sign in" in answer.text


async def test_a_link_on_another_site_is_asked_for_again_by_our_own_page(browser: Browser) -> None:
    """The browser sends no strict cookie when another site's page leads here."""
    headers = {"sec-fetch-site": "cross-site"}
    answer = await browser.get("/dashboard/sessions?cursor=x", headers=headers)
    assert answer.status_code == 401
    assert '<meta http-equiv="refresh" content="0">' in answer.text
    await browser.sign_in(browser.api.key)
    assert (await browser.get("/dashboard/sessions", headers=headers)).status_code == 200


async def test_who_is_signed_in_needs_no_sign_in(browser: Browser) -> None:
    await browser.sign_in(browser.api.key)
    answer = await browser.get("/dashboard/sign-in?next=/dashboard/sessions")
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard/sessions")


async def test_looking_by_itself_keeps_no_session_alive(browser: Browser) -> None:
    """A page that stays open asks every few seconds: that is nobody's use."""
    await browser.sign_in(browser.api.key)
    runner = browser.api.server.api
    assert runner is not None
    await runner.session_uses.write()
    browser.api.fixture.clock.now += dashboard_sessions.IDLE_SECONDS - 10
    await runner.key_uses.write()
    assert (await browser.get("/dashboard", headers={"x-refresh": "1"})).status_code == 200
    assert len(runner.key_uses) == 0
    await runner.session_uses.write()
    browser.api.fixture.clock.now += 20
    assert (await browser.get("/dashboard", headers={"x-refresh": "1"})).status_code == 401
    assert (await browser.get("/dashboard")).status_code == 303


async def test_use_keeps_a_session_alive_until_it_is_too_old(browser: Browser) -> None:
    await browser.sign_in(browser.api.key)
    runner = browser.api.server.api
    assert runner is not None
    for _ in range(dashboard_sessions.MAX_AGE_SECONDS // 3600 - 1):
        browser.api.fixture.clock.now += 3600
        assert (await browser.get("/dashboard")).status_code == 200
        await runner.session_uses.write()
    browser.api.fixture.clock.now += 3600
    assert (await browser.get("/dashboard")).status_code == 303
