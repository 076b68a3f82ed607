"""Payers: whoever has the address of a checkout. They have no key; their own address bounds what they ask."""

import ipaddress

from fastapi import Depends, Request

from watcher.api.auth import api_of
from watcher.api.errors import rate_limited

#: Of an IPv6 address, the bits that a provider gives to a subscriber at most.
_SUBSCRIBER_BITS = 64


def address_of(request: Request) -> str:
    """Return the address that a payer's request came from.

    A caller in our own network is a proxy, which says last in ``X-Forwarded-For`` whom it speaks for: at the
    end of the line, or in a line of its own. What anyone else says there is not believed.
    """
    peer = "" if request.client is None else _address(request.client.host) or request.client.host
    said = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    return _address(said.strip("[]")) or peer if _is_near(peer) else peer


def limited_address(request: Request) -> str:
    """Return whom limits count: the address, or of IPv6 the /64 that one subscriber has to choose from."""
    text = address_of(request)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if address.version == 4:
        return text
    return str(ipaddress.ip_network((address, _SUBSCRIBER_BITS), strict=False))


def check_limit(request: Request) -> None:
    """Count a request of a payer's address. Raises :class:`Problem` (429)."""
    headers, wait = api_of(request).payer_limit.take(limited_address(request))
    request.scope["state"]["headers"] = headers
    if wait is not None:
        raise rate_limited("this address asks too often", wait)


async def _limited(request: Request) -> None:
    check_limit(request)


#: The dependencies of every route that asks for no key.
LIMITED = [Depends(_limited)]


def _is_near(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_link_local


def _address(text: str) -> str:
    """Return an address as written in the usual way, nothing for what is none.

    A server that listens for both kinds gets IPv4 inside IPv6: all of it is one /64, and many people's.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)
