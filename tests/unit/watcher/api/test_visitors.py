"""Who is counted as a visitor, and whom limits count."""

import pytest
from fastapi import Request

from watcher.api.payers import limited_address
from watcher.api.visitors import visitor_of

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
)
IN_APP = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/130.0 Telegram-Android/11.3.3"


def request(address: str = "203.0.113.7", *, head: bool = False, **headers: str) -> Request:
    """Return a request from an address."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (address, 1), "headers": pairs, "state": {"head": head}}
    return Request(scope)


@pytest.mark.parametrize("name", [FIREFOX, PHONE, IN_APP])
def test_a_person_is_told_apart_by_address_and_browser(name: str) -> None:
    """The same again is the same; in-app browsers are people."""
    seen = visitor_of(request(user_agent=name))
    assert seen is not None
    assert seen == visitor_of(request(user_agent=name))
    assert seen != visitor_of(request("203.0.113.8", user_agent=name))
    assert seen != visitor_of(request(user_agent=name + " other"))


@pytest.mark.parametrize(
    "name",
    [
        *("", "curl/8.5.0", "python-requests/2.32", "WhatsApp/2.24.1 A", "Go-http-client/2.0"),
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "TelegramBot (like TwitterBot)",
        "Slackbot-LinkExpanding 1.0",
        "facebookexternalhit/1.1",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/130.0 Safari/537.36",
        "Pingdom.com_bot_version_1.4",
    ],
)
def test_a_program_is_nobody(name: str) -> None:
    """Search engines, previews of messengers, monitors and tools look at every link."""
    assert visitor_of(request(user_agent=name)) is None


@pytest.mark.parametrize(
    "headers",
    [{"sec_purpose": "prefetch;prerender"}, {"purpose": "Prefetch"}, {"x_moz": "prefetch"}],
)
def test_a_page_that_is_fetched_ahead_was_not_looked_at(headers: dict[str, str]) -> None:
    """Browsers say so; nor is it a look to ask for the head alone."""
    assert visitor_of(request(user_agent=FIREFOX, **headers)) is None
    assert visitor_of(request(user_agent=FIREFOX, head=True)) is None


def test_a_subscriber_of_ipv6_is_one_whatever_address_they_choose() -> None:
    """A /64 is theirs; addresses of IPv4 are single."""
    one, same, other = "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"
    assert limited_address(request(one)) == limited_address(request(same)) == "2001:db8:1:2::/64"
    assert limited_address(request(other)) != limited_address(request(one))
    assert limited_address(request("203.0.113.7")) == "203.0.113.7"
    assert limited_address(request("not an address")) == "not an address"
    behind = request("10.0.0.1", x_forwarded_for=f"203.0.113.9, {one}")
    assert limited_address(behind) == "2001:db8:1:2::/64"
