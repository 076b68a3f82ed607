"""The dashboard's pages about keys, brand, status, merchants and sign-ins."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, update

from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import Browser, FormOf
from tests.integration.watcher.ledger_fixture import SHOP
from watcher.services import api_keys, dashboard_sessions
from watcher.store.process_schema import scan
from watcher.store.schema import cursor, reorg


@pytest.fixture
async def operator(sqlite_api: ApiFixture) -> AsyncIterator[Browser]:
    """An operator who looks at all merchants."""
    made = Browser(sqlite_api)
    await made.sign_in(ADMIN)
    yield made
    await made.close()


def keys_of(api: ApiFixture, merchant: str | None = None) -> list[dict[str, object]]:
    with api.fixture.services() as services:
        found: list[dict[str, object]] = services.merchant_keys(merchant or api.merchant)["data"]
    return found


def merchant_of(api: ApiFixture, merchant: str | None = None) -> dict[str, object]:
    with api.fixture.services() as services:
        return services.merchant_of(merchant or api.merchant)


def shown_key(html: str) -> str:
    [key] = set(re.findall(r"sk_live_[A-Za-z0-9_-]{32}", html))
    return str(key)


# Keys


async def test_a_new_key_is_shown_once_and_works(browser: Browser) -> None:
    answer = await browser.send("/dashboard/keys", "keys", name="till 2", scopes=["read"])
    assert answer.status_code == 200
    key = shown_key(answer.text)
    assert "till 2" in answer.text
    assert key not in (await browser.get("/dashboard/keys")).text
    async with browser.api.as_key(key) as client:
        assert (await client.get("/v1/status")).status_code == 200
        assert (await client.post("/v1/payment_intents", json={"amount": "1"})).status_code == 403


async def test_a_form_that_is_sent_twice_is_done_once(api: ApiFixture) -> None:
    """By a double click, also while the first is under way, and by a reload of the answer."""
    browser = Browser(api)
    await browser.sign_in(api.key)
    form = FormOf((await browser.get("/dashboard/keys")).text, "keys").fields | {
        "name": "once",
        "scopes": "read",
    }
    before = len(keys_of(browser.api))
    first, second = await asyncio.gather(
        browser.post("/dashboard/keys", form), browser.post("/dashboard/keys", form)
    )
    third = await browser.post("/dashboard/keys", form)
    assert shown_key(first.text) == shown_key(second.text) == shown_key(third.text)
    assert len(keys_of(browser.api)) == before + 1
    changed = await browser.post("/dashboard/keys", form | {"name": "another"})
    assert shown_key(changed.text) != shown_key(first.text)
    assert len(keys_of(browser.api)) == before + 2
    await browser.close()


async def test_what_is_kept_for_a_second_sending_is_sealed(browser: Browser) -> None:
    """Who copies the database learns no key."""
    answer = await browser.send("/dashboard/keys", "keys", name="sealed", scopes=["read"])
    with browser.api.fixture.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT key, fingerprint, answer FROM idempotency").all()
    assert rows
    stored = b"".join(bytes(value) for row in rows for value in row)
    assert shown_key(answer.text).encode() not in stored
    assert browser.secret.encode() not in stored


async def test_a_key_without_scopes_is_refused_beside_its_field(browser: Browser) -> None:
    before = len(keys_of(browser.api))
    answer = await browser.send("/dashboard/keys", "keys", name="<b>x</b>")
    assert answer.status_code == 422
    assert "&lt;b&gt;x&lt;/b&gt;" in answer.text
    assert 'id="error-scopes"' in answer.text
    assert "Nothing was changed" in answer.text
    assert len(keys_of(browser.api)) == before


async def test_a_revoked_key_says_so_and_ends_its_own_session(browser: Browser) -> None:
    other, own = sorted(keys_of(browser.api), key=lambda key: str(key["created_at"]) + str(key["id"]))[:2]
    with browser.api.fixture.database.read() as connection:
        owner = api_keys.find_owner(connection, browser.api.key, now=browser.api.fixture.clock())
    assert owner is not None
    own, other = (own, other) if own["id"] == owner.key_id else (other, own)
    answer = await browser.send("/dashboard/keys", f"keys/{other['id']}/revoke")
    assert answer.status_code == 303
    page = await browser.get(answer.headers["location"].replace("../../../", "/"))
    assert "does not work any more" in page.text
    assert "revoked" in page.text
    await browser.send("/dashboard/keys", f"keys/{own['id']}/revoke")
    assert (await browser.get("/dashboard/keys")).status_code == 303


async def test_another_merchants_key_cannot_be_revoked(browser: Browser) -> None:
    other = keys_of(browser.api, browser.api.other_merchant)[0]
    answer = await browser.post(
        f"/dashboard/keys/{other['id']}/revoke", {"token": await browser.token("/dashboard/keys")}
    )
    assert answer.status_code == 404
    assert {key["status"] for key in keys_of(browser.api, browser.api.other_merchant)} == {"active"}


async def test_what_was_done_is_said_to_who_did_it_only(browser: Browser) -> None:
    """An address cannot make a page say anything, nor does it say it for ever."""
    answer = await browser.send("/dashboard/brand", "brand", display_name="Tea")
    path = answer.headers["location"].replace("../", "/")
    assert 'class="flash"' in (await browser.get(path)).text
    for said in ("x", "!", "a" * 400, path.partition("said=")[2][:-2] + "AA"):
        assert 'class="flash"' not in (await browser.get(f"/dashboard/brand?said={said}")).text
    other = Browser(browser.api)
    await other.sign_in(browser.api.key)
    assert 'class="flash"' not in (await other.get(path)).text
    await other.close()
    browser.api.fixture.clock.now += 120
    assert 'class="flash"' not in (await browser.get(path)).text


# Brand


async def test_a_brand_is_changed_and_taken_back(browser: Browser) -> None:
    fields = {
        "display_name": "Tea & Co.",
        "logo_url": "https://shop.example/logo.svg",
        "brand_color": "#1F6F54",
        "support_url": "mailto:help@shop.example",
        "allowed_origins": "https://shop.example\r\n\r\n https://other.example \r\n",
    }
    assert (await browser.send("/dashboard/brand", "brand", **fields)).status_code == 303
    merchant = merchant_of(browser.api)
    assert merchant["allowed_origins"] == ["https://shop.example", "https://other.example"]
    assert (merchant["display_name"], merchant["brand_color"]) == ("Tea & Co.", "#1f6f54")
    page = await browser.get("/dashboard/brand")
    assert "img-src 'self' data: https://shop.example;" in page.headers["content-security-policy"]
    assert "<bdi>Tea &amp; Co.</bdi>" in page.text
    assert "contrast of 6.1 : 1" in page.text
    assert (await browser.send("/dashboard/brand", "brand", **dict.fromkeys(fields, ""))).status_code == 303
    merchant = merchant_of(browser.api)
    assert {name: merchant[name] for name in fields} == {**dict.fromkeys(fields, None), "allowed_origins": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logo_url", "javascript:alert(1)"),
        ("logo_url", "http://shop.example/logo.svg"),
        ("brand_color", "red;}"),
        ("support_url", "javascript:alert(1)"),
        ("allowed_origins", "https://shop.example/path"),
        ("display_name", "x" * 501),
    ],
)
async def test_a_wrong_brand_is_refused_beside_its_field(browser: Browser, field: str, value: str) -> None:
    """And what was written is still there, to be mended."""
    answer = await browser.send("/dashboard/brand", "brand", **{field: value})
    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert value in answer.text
    assert "shop.example/logo" not in answer.headers["content-security-policy"]
    assert merchant_of(browser.api)[field] in (None, [])


# Merchants


async def test_an_operator_adds_a_merchant_whose_key_is_shown_once(operator: Browser) -> None:
    answer = await operator.send("/dashboard/merchants", "merchants", name="Books", recipient=SHOP)
    key = shown_key(answer.text)
    assert key not in (await operator.get("/dashboard/merchants")).text
    shop = Browser(operator.api)
    await shop.sign_in(key)
    assert "<bdi>Books</bdi>" in (await shop.get("/dashboard")).text
    await shop.close()
    wrong = await operator.send("/dashboard/merchants", "merchants", name="", recipient="SP1")
    assert wrong.status_code == 422
    assert {"error-name", "error-recipient"} <= set(re.findall(r'id="(error-\w+)"', wrong.text))


async def test_an_operator_looks_at_one_merchant_and_at_all(operator: Browser) -> None:
    api = operator.api
    assert "Choose a merchant" in (await operator.get("/dashboard/keys")).text
    await operator.send("/dashboard/merchants", f"merchants/{api.merchant}/view")
    page = (await operator.get("/dashboard/keys")).text
    assert "<bdi>Shop</bdi>" in page
    made = await operator.send("/dashboard/keys", "keys", name="by the operator", scopes=["read"])
    assert shown_key(made.text)
    assert "by the operator" in {key["name"] for key in keys_of(api)}
    await operator.send("/dashboard/merchants", "merchants/all/view")
    assert "All merchants" in (await operator.get("/dashboard/keys")).text
    answer = await operator.post("/dashboard/merchants/mer_X/view", {"token": await operator.token()})
    assert answer.status_code == 404


async def test_a_page_of_one_merchant_does_nothing_to_another(operator: Browser) -> None:
    """In two tabs: the first still shows the merchant that was looked at before."""
    api = operator.api
    await operator.send("/dashboard/merchants", f"merchants/{api.merchant}/view")
    first_tab = FormOf((await operator.get("/dashboard/keys")).text, "keys").fields
    await operator.send("/dashboard/merchants", f"merchants/{api.other_merchant}/view")
    before = len(keys_of(api, api.other_merchant))
    answer = await operator.post("/dashboard/keys", first_tab | {"name": "x", "scopes": "read"})
    assert answer.status_code == 403
    assert "reload the page" in answer.text
    assert len(keys_of(api, api.other_merchant)) == before


async def test_an_act_without_a_merchant_is_refused(operator: Browser) -> None:
    fields = {"token": await operator.token(), "name": "x", "scopes": "read"}
    for path in ("/dashboard/keys", "/dashboard/brand"):
        answer = await operator.post(path, fields)
        assert answer.status_code == 409
        assert "hoose a merchant" in answer.text


async def test_an_operator_changes_and_disables_a_merchant(operator: Browser) -> None:
    api = operator.api
    path = f"merchants/{api.other_merchant}"
    fields = {"level": "settled", "ttl": "30m", "tolerance": "5", "late_policy": "accept"}
    assert (await operator.send(f"/dashboard/{path}", path, **fields)).status_code == 303
    merchant = merchant_of(api, api.other_merchant)
    assert (merchant["level"], merchant["ttl"], merchant["tolerance"]) == ("settled", 1800, "5")
    page = (await operator.get(f"/dashboard/{path}")).text
    assert 'value="settled"' in page
    wrong = await operator.send(f"/dashboard/{path}", path, level="sure", recipient="")
    assert wrong.status_code == 422
    assert {"error-level", "error-recipient"} <= set(re.findall(r'id="(error-\w+)"', wrong.text))
    shop = Browser(api)
    await shop.sign_in(api.other_key)
    assert (await operator.send(f"/dashboard/{path}", f"{path}/disable")).status_code == 303
    assert (await shop.get("/dashboard")).status_code == 303
    await shop.close()


async def test_an_operator_makes_a_link_that_signs_a_merchant_in(operator: Browser) -> None:
    path = f"merchants/{operator.api.merchant}"
    answer = await operator.send(f"/dashboard/{path}", f"{path}/login-link", scopes=["read"])
    [url] = set(re.findall(r'data-copy="([^"]+sign-in[^"]+)"', answer.text))
    assert url.startswith(operator.api.url)
    shop = Browser(operator.api)
    token = url.partition("link=")[2]
    assert (await shop.post("/dashboard/sign-in", {"link": token})).status_code == 303
    page = (await shop.get("/dashboard/keys")).text
    assert "read only" in page
    assert "Add a key" not in page
    await shop.close()


# Status


async def test_a_merchants_status_has_nothing_of_the_machines(browser: Browser) -> None:
    api = browser.api
    with api.fixture.database.begin() as connection:
        source = {"url": "https://secret.example/key", "state": "failing", "note": "refused", "errors": 3}
        connection.execute(update(cursor).values(sources=[source]))
    page = (await browser.get("/dashboard/status")).text
    assert 'data-live="' in page
    for secret in ("secret.example", "sqlite:", "Processes", "refused"):
        assert secret not in page
    operator = Browser(api)
    await operator.sign_in(ADMIN)
    page = (await operator.get("/dashboard/status")).text
    for shown in ("secret.example", "sqlite:", "Processes", "refused", "follower, notifier"):
        assert shown in page
    await operator.close()


async def test_a_halt_says_what_to_do(operator: Browser) -> None:
    hint = "sbtc-watcher reindex --from 7 --accept-reorg --reason …"
    halted = {
        "code": "reorg_too_deep",
        "message": "the fork is <b>deep</b>",
        "hint": hint,
        "since": 1_800_000_000,
    }
    with operator.api.fixture.database.begin() as connection:
        connection.execute(update(cursor).values(halted=halted))
    page = (await operator.get("/dashboard/status")).text
    assert "It stands still" in page
    assert "the fork is &lt;b&gt;deep&lt;/b&gt;" in page
    assert hint in page


async def test_a_reindex_and_reorgs_are_shown(operator: Browser) -> None:
    now = int(operator.api.fixture.clock())
    with operator.api.fixture.database.begin() as connection:
        connection.execute(
            insert(scan).values(
                id="scan_1",
                asked="{}",
                bottom=1000,
                top=1999,
                position=1249,
                progress={"transfers": 12},
                started_at=now - 60,
                updated_at=now,
            )
        )
        connection.execute(
            insert(reorg).values(
                at=now, ancestor_height=98765, orphaned_blocks=3, burn_depth=1, old_tip="0x1", new_tip="0x2"
            )
        )
    page = (await operator.get("/dashboard/status")).text
    assert 'value="25.0"' in page
    assert "12 transfers read" in page
    assert "98,765" in page


async def test_a_database_that_has_not_begun_has_a_status(operator: Browser) -> None:
    with operator.api.fixture.database.begin() as connection:
        connection.execute(cursor.delete())
    page = await operator.get("/dashboard/status")
    assert page.status_code == 200
    assert "no block is applied yet" in page.text


# Sign-ins


async def test_a_session_is_ended_by_hand(browser: Browser) -> None:
    """Another one of the same merchant's, and one's own."""
    other = Browser(browser.api)
    await other.sign_in(browser.api.key)
    html = (await browser.get("/dashboard/sessions")).text
    [action] = re.findall(r"dashboard/(sessions/ses_\w+/end)", html)
    assert (await browser.send("/dashboard/sessions", action)).status_code == 303
    assert (await other.get("/dashboard")).status_code == 303
    await other.close()
    with browser.api.fixture.services(browser.api.merchant) as services:
        [own] = services.dashboard_sessions()["data"]
    answer = await browser.post(f"/dashboard/sessions/{own['id']}/end", {"token": await browser.token()})
    assert answer.headers["location"].endswith("dashboard/sign-in")
    assert (await browser.get("/dashboard")).status_code == 303


async def test_the_log_has_pages(operator: Browser) -> None:
    for _ in range(30):
        with operator.api.fixture.database.begin() as connection:
            operator.api.fixture.clock.now += 0.002
            dashboard_sessions.sign_in(
                connection,
                "nonsense",
                settings=operator.api.fixture.settings,
                browser=dashboard_sessions.Browser(address="192.0.2.1", agent=""),
                now=operator.api.fixture.clock(),
            )
    page = (await operator.get("/dashboard/sessions")).text
    assert page.count("refused") == 25
    [older] = re.findall(r'<a href="(\?[^"]+)" rel="next">', page)
    page = (await operator.get(f"/dashboard/sessions{older}")).text
    assert page.count("refused") == 5
    assert "Newest" in page
