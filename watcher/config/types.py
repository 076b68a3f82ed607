"""Types and parsers of single settings: lists, optional values, counts, URLs, secrets, the bind address.

Parsers raise :class:`ValueError` with what is wrong and what to write instead; secrets are never quoted.
"""

import ipaddress
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from watcher.durations import PositiveChainSeconds

_MIN_TOKEN_CHARACTERS = 16
_MAX_TTL_SECONDS = 366 * 86400
#: Far above every sensible count, far below what date arithmetic or a database integer holds.
_MAX_COUNT = 1_000_000_000


def read_json(value: object, example: str) -> object:
    """Parse a JSON text; return anything but text unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(f"is not JSON; write {example}") from None


def read_list(value: object) -> object:
    """Parse a list written as JSON or separated by commas; return anything but text unchanged."""
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        return read_json(value, '["a", "b"]')
    return [word.strip() for word in value.split(",") if word.strip()]


def parse_bind(value: str) -> tuple[str, int] | None:
    """Parse ``host:port`` (port 0: any free port); return None for an empty text."""
    text = value.strip()
    if not text:
        return None
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    fits = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    # An IPv6 address needs brackets, or its last group would be read as the port.
    if not bare or not fits or (":" in bare) != bracketed:
        raise ValueError(
            f"{value!r} is not host:port; write 127.0.0.1:8420 or [::1]:8420, nothing for no HTTP server"
        )
    return bare, int(port)


def parse_private_bind(value: str) -> str:
    """Check ``host:port`` where only a machine of ours may connect."""
    text = value.strip()
    host, _ = parse_bind(text) or ("", 0)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return text
    if address.is_global:
        raise ValueError(
            f"{value!r} is a public address, and a node's posts carry no password; "
            "write an address that only the node reaches, such as 127.0.0.1:3700"
        )
    return text


def parse_api_url(value: str, *, key: str = "api_key") -> str:
    """Return a base URL without a trailing slash; ``key`` is the setting for its credentials."""
    try:
        url = urlsplit(value)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        _ = httpx.URL(value).host  # what the client refuses
    except (ValueError, httpx.InvalidURL):
        raise ValueError("is not a base URL; write https://host or http://host:port/path") from None
    if url.username is not None:
        # Not quoted: the message must not show it either.
        raise ValueError("must not hold a user name or password, because URLs are shown; use " + key)
    if not sound or url.query or url.fragment:
        raise ValueError(f"{value!r} is not a base URL; write https://host or http://host:port/path")
    return value.rstrip("/")


def hosts_of(url: str) -> tuple[str, str]:
    """Return the ``host:port`` and the ``host`` of a base URL, the two ways to write it in ``api_keys``."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{parts.port or (443 if parts.scheme == 'https' else 80)}", shown


def host_of(url: str) -> str:
    """Return host and, unless it is the scheme's, port of a base URL, whichever way the host is written.

    Two URLs of one host are one source.
    """
    parts = httpx.URL(url)
    host = parts.raw_host.decode("ascii").rstrip(".")
    with suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    shown = f"[{host}]" if ":" in host else host
    return shown if parts.port is None else f"{shown}:{parts.port}"


def read_keys(value: object, urls: Sequence[str]) -> dict[str, SecretStr]:
    """Parse a table of API keys by ``host`` or ``host:port`` of one of the URLs."""
    example = '{"api.mainnet.hiro.so": "…"}'
    table = read_json({} if none_if_blank(value) is None else value, example)
    if not isinstance(table, dict):
        raise ValueError(f"is not a table of hosts with their keys; write {example}")
    known = [name for url in urls for name in hosts_of(url)]
    keys = {}
    for host, key in table.items():
        if str(host).lower() not in known:
            raise ValueError(f"{host!r} is no host of api_urls, which has {', '.join(known[1::2])}")
        text = key.get_secret_value() if isinstance(key, SecretStr) else key
        if not isinstance(text, str) or not text:
            raise ValueError(f"of {host} must be text")
        keys[str(host).lower()] = _header_text(SecretStr(text))
    return keys


def none_if_blank(value: object) -> object:
    """Return None for a blank text or ``none``, any other value unchanged."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):  # pydantic would read 0 or 1
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


def _height(value: object) -> object:
    text = str(value)
    if value == "tip":
        return value
    if not isinstance(value, int | str) or isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{value!r} is not a height; write tip or a block height from 1")
    if len(text) > 9 or int(text) < 1:
        raise ValueError(f"{value!r} is no block height; write tip or a height from 1 to 999999999")
    return int(text)


def _ttl(seconds: int) -> int:
    if seconds > _MAX_TTL_SECONDS:
        raise ValueError("must be at most 366d")
    return seconds


def _header_text(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be printable ASCII without spaces, as it travels in an HTTP header")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < _MIN_TOKEN_CHARACTERS:
        raise ValueError(
            f"is too short to stay secret; use {_MIN_TOKEN_CHARACTERS} characters or more "
            "(openssl rand -hex 32)"
        )
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


_BLANK_IS_NONE = BeforeValidator(none_if_blank)
_Positive = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=_MAX_COUNT)]
_HeaderText = Annotated[SecretStr, AfterValidator(_header_text)]
_Token = Annotated[_HeaderText, AfterValidator(_long_enough)]

#: A list from TOML, as JSON, or separated by commas.
LIST = BeforeValidator(read_list)
#: Passes text from the environment undecoded to our own parsers.
RAW = NoDecode
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=_MAX_COUNT)]
OptionalCount = Annotated[Count | None, _BLANK_IS_NONE]
OptionalRate = Annotated[_Positive | None, _BLANK_IS_NONE]
OptionalText = Annotated[str | None, _BLANK_IS_NONE]
OptionalPath = Annotated[Path | None, _BLANK_IS_NONE]
OptionalSecret = Annotated[_HeaderText | None, _BLANK_IS_NONE]
OptionalToken = Annotated[_Token | None, _BLANK_IS_NONE]
StartHeight = Annotated[Literal["tip"] | int, BeforeValidator(_height)]
Ttl = Annotated[PositiveChainSeconds, AfterValidator(_ttl)]
LogFormat = Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
