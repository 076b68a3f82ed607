"""Which URLs are of one source."""

import pytest

from watcher.config.settings import Settings
from watcher.config.types import host_of


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://API.example", "api.example"),
        ("http://user:key@api.example:8080/path", "api.example:8080"),
        ("https://api.example:443/v1", "api.example"),
        ("http://api.example.", "api.example"),
        ("https://bücher.example.:3999", "xn--bcher-kva.example:3999"),
        ("http://[0:0::1]:80", "[::1]"),
    ],
)
def test_a_host_is_compared_however_it_is_written(url: str, host: str) -> None:
    """Spellings of one host are one host, and no key is stored."""
    assert host_of(url) == host


def test_two_paths_of_one_host_are_no_second_source() -> None:
    """They pass as two URLs, but not where a second source is needed."""
    urls = ("https://api.example/one", "https://api.example:443/two")
    assert Settings(api_urls=urls).api_urls == urls
    with pytest.raises(ValueError, match="needs a second source that is not of the same host"):
        Settings(api_urls=urls, verify_amount_over={"sbtc": 5})
