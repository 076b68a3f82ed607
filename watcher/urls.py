"""Web addresses that a setting or a merchant names: what is accepted, and why not."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlencode, urlsplit

from watcher.text import quote

#: Characters of an address.
MAX_URL_LENGTH = 2000

#: A host with or without a port; nothing that would end a directive of a content security policy.
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def parse_origin(value: str) -> str:
    """Check the origin of a web page, as browsers send it. Raises :class:`ValueError`."""
    try:
        url = urlsplit(value)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if (
        not sound
        or value != f"{url.scheme}://{url.netloc}"
        or not _HOST.fullmatch(url.netloc)
        or value != value.lower()
    ):
        raise ValueError(f"{value!r} is not an origin; write https://shop.example, without a path")
    return value


def parse_page_url(value: object) -> str:
    """Check the address of a web page or picture: https, or http on this machine.

    It is printable ASCII without spaces, quotes and the like, so that it means the same to every reader, in a
    header too. Raises :class:`ValueError`.
    """
    wrong = f"{quote(value)} is not a web address; write https://shop.example/thanks"
    if not isinstance(value, str) or not _is_plain(value):
        raise ValueError(wrong)
    if len(value) > MAX_URL_LENGTH:
        raise ValueError(f"has {len(value)} characters; use at most {MAX_URL_LENGTH}")
    try:
        url = urlsplit(value)
        sound = bool(url.hostname) and url.port != 0
    except ValueError:
        raise ValueError(wrong) from None
    if "@" in url.netloc:
        # Not quoted: the message must not show it either.
        raise ValueError("must not hold a user name or password, because payers see it")
    if not sound or url.scheme not in {"http", "https"} or not _HOST.fullmatch(url.netloc):
        raise ValueError(wrong)
    if url.scheme == "http" and not is_loopback(url):
        raise ValueError(f"{quote(value)} is not encrypted; write https (http only for this machine)")
    return value


def parse_support_url(value: object) -> str:
    """Check where payers ask for help: a page, or ``mailto:`` and an address. Raises :class:`ValueError`."""
    if isinstance(value, str) and value.startswith("mailto:") and len(value) <= MAX_URL_LENGTH:
        name, at, host = value.removeprefix("mailto:").partition("?")[0].partition("@")
        if name and at and host and _is_plain(value):
            return value
        raise ValueError(f"{quote(value)} is not an e-mail address; write mailto:help@shop.example")
    return parse_page_url(value)


def is_loopback(url: SplitResult) -> bool:
    """Return whether an address is of this machine."""
    host = url.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def origin_of(value: str) -> str:
    """Return the origin of a checked address."""
    url = urlsplit(value)
    return f"{url.scheme}://{url.netloc}"


def with_parameters(value: str, parameters: Mapping[str, str]) -> str:
    """Return a checked address with parameters appended to its query."""
    url = urlsplit(value)
    more = urlencode(parameters)
    return url._replace(query=f"{url.query}&{more}" if url.query else more).geturl()


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\^`{|}")
