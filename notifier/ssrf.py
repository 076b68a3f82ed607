"""SSRF guard: webhooks must not reach this machine, its network or a cloud's metadata service.

Checking a name before the request is not enough, because it can resolve differently a moment later. So the
decisive check is :func:`socket_factory`: it sees the address of every connection, also of IP literals.
:func:`check_url` gives early feedback when an endpoint is created.

``ipaddress``'s ``is_global`` is not enough: for it NAT64 and 6to4 forms of private addresses, multicast and
several special ranges are global. So the ranges of the IANA special-purpose registries are listed here, and
of IPv6 only 2000::/3 is allowed at all.
"""

import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import NewType

from aiohappyeyeballs import AddrInfoType
from yarl import URL

from notifier.errors import RefusedUrl

#: URL that passed :func:`check_url`.
CheckedUrl = NewType("CheckedUrl", str)

MAX_URL_CHARACTERS = 2048

_V4_REFUSED = {
    ip_network(network): name
    for network, name in {
        "0.0.0.0/8": "an unspecified",
        "10.0.0.0/8": "a private",
        "100.64.0.0/10": "a carrier's internal",
        "127.0.0.0/8": "a loopback",
        "168.63.129.16/32": "a cloud's metadata",
        "169.254.0.0/16": "a link-local (or a cloud's metadata)",
        "172.16.0.0/12": "a private",
        "192.0.0.0/24": "a protocol-reserved",
        "192.0.2.0/24": "a documentation",
        "192.31.196.0/24": "a protocol-reserved",
        "192.52.193.0/24": "a protocol-reserved",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "a private",
        "192.175.48.0/24": "a protocol-reserved",
        "198.18.0.0/15": "a benchmarking",
        "198.51.100.0/24": "a documentation",
        "203.0.113.0/24": "a documentation",
        "224.0.0.0/4": "a multicast",
        "240.0.0.0/4": "a reserved",
    }.items()
}

_V6_REFUSED = {
    ip_network(network): name
    for network, name in {
        # Within 2000::/3:
        "2001::/23": "a protocol-reserved",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32": "a documentation",
        "2002::/16": "a 6to4",
        "2620:4f:8000::/48": "a protocol-reserved",
        "3fff::/20": "a documentation",
        # Everything outside it is refused; these are named for the error message.
        "::/128": "an unspecified",
        "::1/128": "a loopback",
        "fc00::/7": "a private",
        "fe80::/10": "a link-local",
        "fec0::/10": "a site-local",
        "ff00::/8": "a multicast",
    }.items()
}

_V6_GLOBAL = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


class RefusedAddress(OSError):
    """Connection refused by the guard because of its address."""


def refusal(address: str) -> str | None:
    """Return why an IP address is refused, e.g. ``127.0.0.1 is a loopback address``; None if allowed."""
    ip = ip_address(address)
    kind = _v4_kind(ip) if isinstance(ip, IPv4Address) else _v6_kind(ip)
    return f"{address} is {kind} address" if kind else None


def _v4_kind(ip: IPv4Address) -> str | None:
    return next((name for network, name in _V4_REFUSED.items() if ip in network), None)


def _v6_kind(ip: IPv6Address) -> str | None:
    if ip.ipv4_mapped is not None:
        return _v4_kind(ip.ipv4_mapped)
    if ip in _NAT64:
        # Names resolve to these on an IPv6-only network; the connection ends at the embedded IPv4 address.
        return _v4_kind(IPv4Address(int(ip) & 0xFFFFFFFF))
    if kind := next((name for network, name in _V6_REFUSED.items() if ip in network), None):
        return kind
    return None if ip in _V6_GLOBAL else "a reserved"


def socket_factory(*, allow_private: bool) -> Callable[[AddrInfoType], socket.socket]:
    """Return a socket factory for :class:`aiohttp.TCPConnector` that raises :class:`RefusedAddress`."""

    def open_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow_private and (reason := refusal(str(address[0]))):
            raise RefusedAddress(reason)
        return socket.socket(family, kind, protocol)

    return open_socket


def lookup(host: str, port: int, *, timeout: float) -> list[str]:
    """Return a name's addresses; empty if it does not resolve within ``timeout`` seconds.

    Blocks. The look-up runs in a thread of its own because ``getaddrinfo`` has no timeout.
    """
    answers: SimpleQueue[list[str]] = SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception:
            # OSError, UnicodeError, ValueError: it does not resolve.
            found = []
        answers.put([str(address[0]) for _, _, _, _, address in found])

    threading.Thread(target=resolve, name="webhook-url-check", daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except Empty:
        return []


@lru_cache(maxsize=4096)
def parse_url(url: str, *, allow_http: bool) -> URL:
    """Parse a webhook URL; :class:`RefusedUrl` if its form is not allowed."""
    if len(url) > MAX_URL_CHARACTERS:
        raise RefusedUrl(
            f"a webhook URL has at most {MAX_URL_CHARACTERS} characters, this one has {len(url)}"
        )
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise RefusedUrl("a webhook URL has no spaces or control characters")
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError as error:
        raise RefusedUrl(f"not a URL: {error}") from error
    if parsed.scheme == "http" and not allow_http:
        raise RefusedUrl("a webhook URL begins with https:// (set webhook_allow_http for development)")
    if parsed.scheme not in ("http", "https"):
        raise RefusedUrl("a webhook URL begins with https://")
    if not host or not port:
        raise RefusedUrl("a webhook URL names a host and no port 0, as in https://shop.example/webhooks")
    if "%" in host:
        raise RefusedUrl("a webhook URL's host has no % in it: write the name, or the address without a zone")
    if parsed.user is not None or parsed.password is not None:
        raise RefusedUrl(
            "a webhook URL holds no user name or password: URLs are shown in lists; verify the signature"
        )
    if parsed.fragment:
        raise RefusedUrl("a webhook URL has no fragment (#…): it would never be sent")
    return parsed


def check_url(
    url: str, *, allow_http: bool = False, allow_private: bool = False, timeout: float = 5.0
) -> CheckedUrl:
    """Return the URL if webhooks may be sent to it, else raise :class:`RefusedUrl` with the reason.

    Blocks for a DNS look-up of at most ``timeout`` seconds: do not call it within a transaction. A name that
    does not resolve passes, because the address is checked again at every attempt.
    """
    parsed = parse_url(url, allow_http=allow_http)
    assert parsed.host is not None
    assert parsed.port is not None
    if allow_private:
        return CheckedUrl(url)
    # Without the trailing dot of a fully qualified name: some hosts files and literals do not have it.
    host = parsed.host.rstrip(".")
    try:
        addresses = [str(ip_address(host))]
    except ValueError:
        addresses = lookup(host, parsed.port, timeout=timeout)
    for address in addresses:
        if reason := refusal(address):
            raise RefusedUrl(
                f"webhooks are not sent to {parsed.host}: {reason}"
                " (set webhook_allow_private for development)"
            )
    return CheckedUrl(url)
