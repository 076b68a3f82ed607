"""Warning about proxy variables that are set but not used."""

import pytest

from watcher.config.proxies import ignored


@pytest.mark.parametrize("environment", [{}, {"HTTP_PROXY": ""}, {"NO_PROXY": "*", "PATH": "/bin"}])
def test_without_one_there_is_nothing_to_say(environment: dict[str, str]) -> None:
    assert ignored(environment) is None


def test_those_that_are_set_are_named_as_they_are_written_and_their_values_are_not_shown() -> None:
    line = ignored({"https_proxy": "http://user:hunter2@proxy", "ALL_PROXY": "socks5://x", "PATH": "/bin"})
    assert line is not None
    assert line.startswith("ALL_PROXY, https_proxy are set, but not used:")
    assert "hunter2" not in line
