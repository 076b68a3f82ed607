"""Whom the limits of payers count: by which address a request came, and which part of it is one person's."""

import asyncio

import httpx
import pytest
from fastapi import Request

from tests.integration.watcher.api.api_fixture import ApiFixture, problem
from watcher.api import payers

PROXY = "127.0.0.1"


def request(peer: str, *forwarded: str) -> Request:
    """Return a request from ``peer`` with a line of X-Forwarded-For for each of ``forwarded``."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "client": (peer, 50000), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("93.184.216.34", (), "93.184.216.34"),
        ("93.184.216.34", ("198.51.100.9",), "93.184.216.34"),
        (PROXY, ("198.51.100.9",), "198.51.100.9"),
        (PROXY, ("8.8.8.8, 198.51.100.9",), "198.51.100.9"),
        # Some proxies add a line of their own below what the payer has sent.
        (PROXY, ("8.8.8.8", "198.51.100.9"), "198.51.100.9"),
        (PROXY, ("8.8.8.8, 1.1.1.1", "9.9.9.9, 198.51.100.9"), "198.51.100.9"),
        (PROXY, ("8.8.8.8", "nobody"), PROXY),
        (PROXY, ("8.8.8.8", ""), PROXY),
        # A server that listens for both kinds gets IPv4 inside IPv6.
        ("::ffff:93.184.216.34", ("198.51.100.9",), "93.184.216.34"),
        ("::ffff:127.0.0.1", ("198.51.100.9",), "198.51.100.9"),
        (PROXY, ("::ffff:198.51.100.9",), "198.51.100.9"),
        (PROXY, ("[2001:db8::9]",), "2001:db8::9"),
        ("fe80::1%eth0", ("198.51.100.9",), "198.51.100.9"),
    ],
)
def test_a_payers_address_is_what_the_nearest_proxy_says(
    peer: str, forwarded: tuple[str, ...], address: str
) -> None:
    """Only the last word counts, which is the proxy's own; what came before it may be a lie."""
    assert payers.address_of(request(peer, *forwarded)) == address


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_limits_count_subscribers(address: str, counted: str) -> None:
    """Of IPv6 one subscriber has 2^64 addresses; an IPv4 address inside IPv6 is one of its own."""
    assert payers.limited_address(request(PROXY, address)) == counted


async def test_all_addresses_of_a_subscriber_share_its_streams_and_waits(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one person could take all that there are."""
    made = await sqlite_api.create()
    path = f"/v1/checkout/{made['checkout_url'].removeprefix('/pay/')}"
    server = sqlite_api.server.api
    assert server is not None
    monkeypatch.setattr(server.streams, "of_caller", 1)
    monkeypatch.setattr(server.payer_waits, "of_caller", 1)

    async def get(path: str, headers: dict[str, str]) -> httpx.Response:
        async with asyncio.timeout(10):
            return await sqlite_api.stranger.get(path, headers=headers)

    mine, mine_too, other = ({"x-forwarded-for": f"2001:db8:{net}"} for net in ("1::1", "1::2", "2::1"))
    async with sqlite_api.stranger.stream("GET", f"{path}/events", headers=mine) as stream:
        assert stream.status_code == 200
        assert problem(await get(f"{path}/events", mine_too)) == (429, "too_many_waits")
        async with sqlite_api.stranger.stream("GET", f"{path}/events", headers=other) as second:
            assert second.status_code == 200
    with server.payer_waits.take("2001:db8:1::/64"):
        assert problem(await get(f"{path}?wait=20s", mine_too)) == (429, "too_many_waits")
