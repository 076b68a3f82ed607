"""The address that the daemon listens on: what can be had, and what is said when it cannot."""

import socket

import pytest

from watcher.api.server import bind
from watcher.errors import ConfigError


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("nowhere.invalid", "name"),  # not known, or its resolution failed
        ("x" * 64, "no host name"),
        ("a..b", "no host name"),
        ("192.0.2.1", "cannot assign requested address"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_one_line(host: str, reason: str) -> None:
    """A name that nobody knows, one that is no name, and another machine's address are told in words."""
    with pytest.raises(ConfigError) as refused:
        bind((host, 8420))
    assert str(refused.value).startswith(f"http_bind: cannot listen on {host}:8420: ")
    assert reason in str(refused.value)
    assert "unknown error" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_port_0_is_any_free_one(host: str) -> None:
    """Addresses of both kinds and a name are listened on; a name with both kinds is its IPv4 address."""
    with bind((host, 0)) as listener:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        assert listener.family == family
        assert listener.getsockname()[1] > 0
        with socket.create_connection(listener.getsockname()[:2]):
            pass
