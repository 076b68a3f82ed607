"""The dashboard's pages of webhooks over HTTP: every act, and what is shown of strangers."""

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from notifier.schema import delivery, delivery_attempt
from tests.integration.watcher.api.all_routes import add_endpoint, make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import Browser

HOOKS = "/dashboard/webhooks"
URL = "https://1.1.1.1/hooks"


@pytest.fixture
async def browser(api: ApiFixture) -> AsyncIterator[Browser]:
    """A merchant who is signed in."""
    made = Browser(api)
    await made.sign_in(api.key)
    yield made
    await made.close()


async def endpoint_of(browser: Browser, id_: str) -> dict[str, Any]:
    document: dict[str, Any] = (await browser.api.client.get(f"/v1/webhook_endpoints/{id_}")).json()
    return document


def led_to(answer: Any) -> str:
    """Return the page that an act leads to."""
    assert answer.status_code == 303, answer.text
    return "/dashboard/" + answer.headers["location"].partition("dashboard/")[2].partition("?said")[0]


def attempt(browser: Browser, id_: str, response: bytes | None, *, status: int | None = 500) -> None:
    """Let a delivery have been given up after one attempt."""
    with browser.api.fixture.database.begin() as connection:
        connection.execute(
            insert(delivery_attempt).values(
                delivery=id_,
                number=1,
                at=browser.api.fixture.clock(),
                duration_ms=7,
                status_code=status,
                error=None if status else "TLS failed",
                response=response,
            )
        )
        connection.execute(
            update(delivery)
            .where(delivery.c.id == id_)
            .values(status="dead", attempts=1, next_attempt_at=None, last_status_code=status)
        )


async def test_an_endpoint_is_added_with_its_secret_shown_once(browser: Browser) -> None:
    assert "No endpoint yet" in (await browser.get(HOOKS)).text
    page = await browser.send(f"{HOOKS}/new", "webhooks/new", url=URL, events=["payment.failed", "*"])
    assert page.status_code == 200, page.text
    [secret] = set(re.findall(r"whsec_[A-Za-z0-9+/=]{44}", page.text))
    [added] = (await browser.api.client.get("/v1/webhook_endpoints")).json()["data"]
    assert (added["url"], added["events"], added["legacy_v0"]) == (URL, ["*"], False)
    for path in (HOOKS, f"{HOOKS}/{added['id']}"):
        shown = (await browser.get(path)).text
        assert URL in shown
        assert secret not in shown


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "http://1.1.1.1/", "events": ["*"]}, "https"),
        ({"url": "https://127.0.0.1/", "events": ["*"]}, "127.0.0.1"),
        ({"url": "", "events": ["*"]}, "field-url"),
        ({"url": URL}, "at least one of"),
        ({"url": URL, "events": ["payment.done"]}, "unknown event"),
    ],
)
async def test_a_wrong_endpoint_is_told_beside_its_field(
    browser: Browser, fields: dict[str, Any], why: str
) -> None:
    """And the form is as it was sent."""
    page = await browser.send(f"{HOOKS}/new", "webhooks/new", **fields)
    assert page.status_code == 422
    assert why in html.unescape(page.text)
    assert "Nothing was changed" in page.text
    assert f'value="{fields["url"]}"' in page.text
    assert (await browser.api.client.get("/v1/webhook_endpoints")).json()["data"] == []


async def test_an_endpoint_is_changed_stopped_started_and_removed(browser: Browser) -> None:
    id_ = add_endpoint(browser.api, browser.api.merchant)
    path = f"{HOOKS}/{id_}"
    changed = await browser.send(
        path, f"webhooks/{id_}", url=URL, events=["payment.failed"], legacy_v0="true"
    )
    assert led_to(changed) == path
    found = await endpoint_of(browser, id_)
    assert (found["url"], found["events"], found["legacy_v0"]) == (URL, ["payment.failed"], True)
    refused = await browser.send(path, f"webhooks/{id_}", url="https://[::1]/", events=["*"])
    assert refused.status_code == 422
    assert (await endpoint_of(browser, id_)) == found
    stopped = await browser.send(path, f"webhooks/{id_}/status", status="disabled")
    assert led_to(stopped) == path
    assert "held until it is enabled" in (await browser.get(path)).text
    assert (await endpoint_of(browser, id_))["status"] == "disabled"
    await browser.send(path, f"webhooks/{id_}/status")
    assert (await endpoint_of(browser, id_))["status"] == "enabled"
    rotated = await browser.send(path, f"webhooks/{id_}/rotate", overlap="0")
    assert "not valid any more" in rotated.text
    assert "whsec_" in rotated.text
    assert (await browser.send(path, f"webhooks/{id_}/rotate", overlap="8d")).status_code == 422
    assert led_to(await browser.send(path, f"webhooks/{id_}/remove")) == HOOKS
    assert (await browser.get(path)).status_code == 404


async def test_a_test_event_leads_to_its_delivery(browser: Browser) -> None:
    id_ = add_endpoint(browser.api, browser.api.merchant)
    sent = await browser.send(f"{HOOKS}/{id_}", f"webhooks/{id_}/test", type="payment.refunded")
    page = (await browser.get(led_to(sent))).text
    assert "It is on its way" in page
    assert 'data-live="2"' in page
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in page
    assert "&#34;payment.refunded&#34;" in page
    refused = await browser.send(
        f"{HOOKS}/{id_}", f"webhooks/{id_}/test", type="payment.failed", intent="pi_X"
    )
    assert refused.status_code == 422
    assert "no intent pi_X" in refused.text
    intent = browser.api.fixture.create()
    refused = await browser.send(
        f"{HOOKS}/{id_}", f"webhooks/{id_}/test", type="payment.failed", intent=intent
    )
    assert refused.status_code == 422
    assert "has no payment.failed to show" in refused.text
    assert f'value="{intent}"' in refused.text


async def test_what_was_given_up_is_sent_again_one_or_all(browser: Browser) -> None:
    ids = make_everything(browser.api)
    path = f"{HOOKS}/deliveries/{ids['delivery_id']}"
    attempt(browser, ids["delivery_id"], b"no")
    page = (await browser.get(path)).text
    assert "given up after 1 attempt." in page
    assert "http-equiv" not in page
    dismissed = await browser.send(path, f"webhooks/deliveries/{ids['delivery_id']}/dismiss")
    assert led_to(dismissed) == path
    assert "somebody has seen to it" in (await browser.get(path)).text
    retried = await browser.send(path, f"webhooks/deliveries/{ids['delivery_id']}/retry")
    assert led_to(retried) == path
    assert "was not taken yet" in (await browser.get(path)).text
    attempt_again = update(delivery).values(status="dead", next_attempt_at=None, dismissed_at=None)
    with browser.api.fixture.database.begin() as connection:
        connection.execute(attempt_again)
    endpoint = f"{HOOKS}/{ids['endpoint_id']}"
    recovered = await browser.send(endpoint, f"webhooks/{ids['endpoint_id']}/recover")
    assert (
        "sent again"
        in (await browser.get(f"{endpoint}?{recovered.headers['location'].partition('?')[2]}")).text
    )
    with browser.api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="delivered", next_attempt_at=None))
    replayed = await browser.send(endpoint, f"webhooks/{ids['endpoint_id']}/replay", since="2020-01-01T00:00")
    assert led_to(replayed) == endpoint
    waiting = (await browser.api.client.get("/v1/webhook_deliveries?status=pending")).json()["data"]
    assert len(waiting) > 1
    with browser.api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="delivered", next_attempt_at=None))
    # An hour after everything happened, by a clock that is two hours ahead of UTC: an hour before it.
    local = datetime.fromtimestamp(browser.api.fixture.clock(), UTC) + timedelta(hours=1)
    written = f"{local:%Y-%m-%dT%H:%M}+02:00"
    replayed = await browser.send(endpoint, f"webhooks/{ids['endpoint_id']}/replay", since=written)
    assert led_to(replayed) == endpoint
    waiting = (await browser.api.client.get("/v1/webhook_deliveries?status=pending")).json()["data"]
    assert len(waiting) > 1
    for since in ("", "soon"):
        wrong = await browser.send(endpoint, f"webhooks/{ids['endpoint_id']}/replay", since=since)
        assert wrong.status_code == 422
        assert 'id="error-since"' in wrong.text


async def test_answers_of_strangers_are_shown_as_text(browser: Browser) -> None:
    """HTML, scripts, control characters, broken UTF-8."""
    ids = make_everything(browser.api)
    attempt(
        browser, ids["delivery_id"], b"<script>alert(1)</script></pre>\x00\x1b[31m\xe2\x80\xae\xff{{7*7}}"
    )
    page = (await browser.get(f"{HOOKS}/deliveries/{ids['delivery_id']}")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;/pre&gt;\\u0000\\u001b[31m\\u202e\ufffd{{7*7}}" in page


async def test_deliveries_are_filtered_and_wrong_filters_are_told(browser: Browser) -> None:
    ids = make_everything(browser.api)
    log = f"{HOOKS}/deliveries"
    row = f"webhooks/deliveries/{ids['delivery_id']}"
    for query, shown in {
        "": True,
        "status=pending": True,
        "status=dead": False,
        f"endpoint={ids['endpoint_id']}": True,
        "endpoint=we_X": False,
        "type=payment.expired": False,
        "within=30d": True,
        f"event={ids['event_id']}": True,
    }.items():
        page = await browser.get(f"{log}?{query}")
        assert page.status_code == 200, query
        if query != "within=30d":  # on PostgreSQL a server's clock, not this test's
            assert (row in page.text) == shown, query
    assert "No such deliveries." in (await browser.get(f"{log}?status=dead")).text
    for query in ("status=lost", "type=x", "endpoint=we%20X", "cursor=dlv_X"):
        wrong = await browser.get(f"{log}?{query}")
        assert wrong.status_code == 422, query
        assert 'role="alert"' in wrong.text


async def test_events_are_listed_shown_and_sent_again(browser: Browser) -> None:
    ids = make_everything(browser.api)
    page = (await browser.get(f"{HOOKS}/events")).text
    assert f"webhooks/events/{ids['event_id']}" in page
    assert (await browser.get(f"{HOOKS}/events?type=payment.expired")).text.count("No such events.") == 1
    assert (await browser.get(f"{HOOKS}/events?type=x")).status_code == 422
    await browser.send(f"{HOOKS}/{ids['endpoint_id']}", f"webhooks/{ids['endpoint_id']}/test")
    assert '<span class="badge plain">test</span>' in (await browser.get(f"{HOOKS}/events?test=true")).text
    path = f"{HOOKS}/events/{ids['event_id']}"
    assert ids["endpoint_id"] in (await browser.get(path)).text
    other = add_endpoint(browser.api, browser.api.merchant)
    sent = await browser.send(path, f"webhooks/events/{ids['event_id']}/redeliver", endpoint=other)
    assert led_to(sent) == path
    made = (await browser.api.client.get(f"/v1/webhook_deliveries?endpoint={other}")).json()["data"]
    assert [row["event"] for row in made] == [ids["event_id"]]


async def test_an_operator_sees_all_endpoints_and_adds_them_for_a_merchant(api: ApiFixture) -> None:
    ids = make_everything(api)
    browser = Browser(api)
    await browser.sign_in(ADMIN)
    page = (await browser.get(HOOKS)).text
    assert ids["endpoint_id"] in page
    assert api.merchant in page
    assert "Choose a merchant" in (await browser.get(f"{HOOKS}/new")).text
    refused = await browser.post(f"{HOOKS}/new", {"token": await browser.token(), "url": URL, "events": "*"})
    assert refused.status_code == 409
    assert (await browser.get(f"{HOOKS}/{ids['endpoint_id']}")).status_code == 200
    await browser.close()


async def test_the_code_that_verifies_is_shown(browser: Browser) -> None:
    page = html.unescape((await browser.get(f"{HOOKS}/verify")).text)
    for part in ("hmac.compare_digest", "timingSafeEqual", "OpenSSL.secure_compare"):
        assert part in page
