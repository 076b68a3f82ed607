"""Invalid settings: one line each with the setting, what is wrong and what to write; never a secret."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from watcher.config.load import load_settings
from watcher.errors import ConfigError

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
PAYMENTS = "SP000000000000000000002Q6VF78.sbtc-payments"
TESTNET_PAYMENTS = "ST000000000000000000002AMW42H.sbtc-payments"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def problems(config: Path | None = None, overrides: Mapping[str, object] | None = None) -> list[str]:
    """Load invalid settings and return the lines of the error."""
    with pytest.raises(ConfigError) as caught:
        load_settings(config, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "hunter2 ü"),
        ("api_key", ["hunter2"]),
        ("api_keys", "hunter2"),
        ("api_keys", ["hunter2"]),
        ("api_keys", {"other.example": "hunter2"}),
        ("api_keys", {"api.mainnet.hiro.so": "hunter2 ü"}),
        ("api_keys", {"api.mainnet.hiro.so": ["hunter2"]}),
        ("admin_token", "hunter2"),
        ("admin_token", {"a": "hunter2"}),
        ("database_url", "postgres://w:hunter2@h:x/y"),
        ("database_url", ["hunter2"]),
        ("api_urls", "https://w:hunter2@host"),
        ("api_urls", "https://w:hunter2@host:99999"),
        ("node_url", "http://w:hunter2@host"),
        ("node_auth_token", "hunter2 ü"),
    ],
)
def test_an_error_about_a_secret_does_not_quote_it(name: str, value: object) -> None:
    assert "hunter2" not in "".join(problems(overrides={name: value}))


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("network", "main", "must be 'mainnet', 'testnet' or 'devnet', not 'main'"),
        (
            "database_url",
            "postgresql://u@h/d",
            "postgresql is not supported; write sqlite:////path/to/file.db or postgresql+psycopg://user@host/database",
        ),
        (
            "database_url",
            "x",
            "is not a database URL; write sqlite:////path/to/file.db or postgresql+psycopg://user@host/database",
        ),
        (
            "database_url",
            "sqlite://",
            "names no database that outlives the process; write sqlite:////path/to/file.db or "
            "postgresql+psycopg://user@host/database",
        ),
        (
            "node_url",
            "http://u@h",
            "must not hold a user name or password, because URLs are shown; use node_auth_token",
        ),
        (
            "node_url",
            "127.0.0.1:20443",
            "'127.0.0.1:20443' is not a base URL; write https://host or http://host:port/path",
        ),
        (
            "node_observer_bind",
            "127.0.0.1:3700",
            "needs node_url, the node's RPC; write both, for example http://127.0.0.1:20443 and "
            "127.0.0.1:3700, or neither",
        ),
        (
            "api_urls",
            [],
            "is empty; name at least one Stacks API, or leave it out for the network's public one",
        ),
        (
            "api_urls",
            "a.example",
            "'a.example' is not a base URL; write https://host or http://host:port/path",
        ),
        ("api_urls", "http://h:99999", "is not a base URL; write https://host or http://host:port/path"),
        ("api_urls", "http://xn--zz.h", "is not a base URL; write https://host or http://host:port/path"),
        (
            "api_urls",
            "http://\N{SNOWMAN}.h",
            "is not a base URL; write https://host or http://host:port/path",
        ),
        (
            "api_urls",
            "https://u@h",
            "must not hold a user name or password, because URLs are shown; use api_key",
        ),
        (
            "api_urls",
            "https://h,https://h/",
            "names a source twice; two sources count as independent opinions",
        ),
        (
            "api_urls",
            "https://h/v1,http://H.:80/v1",
            "names a source twice; two sources count as independent opinions",
        ),
        ("api_urls", 5, "must be a list, not 5"),
        ("api_key", "a b", "must be printable ASCII without spaces, as it travels in an HTTP header"),
        ("api_key", 5, "must be text, not that value"),
        (
            "api_keys",
            {"api.mainnet.hiro.sa": "key"},
            "'api.mainnet.hiro.sa' is no host of api_urls, which has api.mainnet.hiro.so",
        ),
        ("api_keys", "key", 'is not JSON; write {"api.mainnet.hiro.so": "…"}'),
        ("api_requests_per_minute", 0, "must be 1 or more, not 0"),
        ("api_requests_per_month", "many", "must be a whole number, not 'many'"),
        (
            "poll_interval",
            "5 sec",
            "'5 sec' is not a duration; write 500ms, 5s, 2m, 24h, 5d or a number of seconds",
        ),
        (
            "poll_interval",
            0,
            "must be longer than 0; write 500ms, 5s, 2m, 24h, 5d or a number of seconds",
        ),
        ("websocket", "perhaps", "must be true or false, not 'perhaps'"),
        ("mempool", [], "must be true or false, not []"),
        ("start_height", "top", "'top' is not a height; write tip or a block height from 1"),
        ("start_height", True, "True is not a height; write tip or a block height from 1"),
        ("start_height", 0, "0 is no block height; write tip or a height from 1 to 999999999"),
        (
            "sbtc_contract",
            SBTC.partition(".")[0],
            "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4 is an address: "
            "expected a contract id, address.contract-name",
        ),
        (
            "payment_contract",
            TESTNET_PAYMENTS,
            f"{TESTNET_PAYMENTS} belongs to testnet: expected a principal of mainnet (SP… or SM…)",
        ),
        (
            "ignored_senders",
            [TESTNET_PAYMENTS],
            f"{TESTNET_PAYMENTS} belongs to testnet: expected a principal of mainnet (SP… or SM…)",
        ),
        ("ignored_senders", 5, "must be a list, not 5"),
        (
            "assets",
            {"usd": {"decimals": 6}},
            "usd: needs identifier (address.contract-name::asset-name) and decimals",
        ),
        ("assets", "usd", 'is not JSON; write {"usd": {"identifier": "…", "decimals": 6}}'),
        (
            "confirmation_tiers",
            {"sbtc": [{"level": "deep"}]},
            "sbtc: 'deep' is not a level; write included, anchored, settled or stacks=1,bitcoin=3",
        ),
        (
            "confirmation_tiers",
            {"stx": [{"level": {"stacks": 1, "bitcoin": 9}}]},
            "stx: level stacks=1,bitcoin=9 waits for 9 Bitcoin blocks, but finality_burn_blocks is 6; "
            "choose a lower level or raise finality_burn_blocks",
        ),
        ("finality_burn_blocks", 6.5, "must be a whole number, not 6.5"),
        ("default_ttl", "400d", "must be at most 366d"),
        ("default_ttl", 0, "must be longer than 0; write 500ms, 5s, 2m, 24h, 5d or a number of seconds"),
        (
            "inclusion_grace",
            "500ms",
            "500ms is not a whole number of seconds, which chain time is counted in",
        ),
        ("late_policy", "keep", "must be 'hold' or 'accept', not 'keep'"),
        (
            "verify_amount_over",
            {"sbtc": 5},
            "needs a second source that is not of the same host; add one to api_urls",
        ),
        ("verify_amount_over", 5, "5 is not a table; write {sbtc = 10000000}"),
        ("verify_amount_over", {"sbtk": 5}, "sbtk: is not an asset of these settings; did you mean sbtc?"),
        (
            "verify_amount_over",
            {"sbtc": "much"},
            f"sbtc must be a whole number from 0 to {2**128 - 1}, not 'much'",
        ),
        (
            "http_bind",
            "8420",
            "'8420' is not host:port; write 127.0.0.1:8420 or [::1]:8420, nothing for no HTTP server",
        ),
        (
            "http_bind",
            "::1:8420",
            "'::1:8420' is not host:port; write 127.0.0.1:8420 or [::1]:8420, nothing for no HTTP server",
        ),
        (
            "http_bind",
            "h:65536",
            "'h:65536' is not host:port; write 127.0.0.1:8420 or [::1]:8420, nothing for no HTTP server",
        ),
        ("http_bind", 8420, "must be text, not 8420"),
        ("http_rate_limit", 0, "must be 1 or more, not 0"),
        *(
            (
                "http_cors_origins",
                [origin],
                f"{origin!r} is not an origin; write https://shop.example, without a path",
            )
            for origin in (
                "*",
                "shop.example",
                "https://shop.example/",
                "https://a@b.example",
                "HTTPS://b",
                "https://[",
            )
        ),
        (
            "admin_token",
            "admin",
            "is too short to stay secret; use 16 characters or more (openssl rand -hex 32)",
        ),
        ("webhook_retry_schedule", [], "is empty; give at least one value, or leave it out for the default"),
        ("webhook_retry_schedule", '["1s"', 'is not JSON; write ["a", "b"]'),
        ("webhook_endpoint_rate", 0, "must be above 0, not 0"),
        ("webhook_endpoint_rate", "fast", "must be a number, not 'fast'"),
        ("retention_days", True, "must be a number, not true"),
        ("retention_days", 10**10, "must be at most 1000000000, not 10000000000"),
        ("log_format", "xml", "must be 'auto', 'console' or 'json', not 'xml'"),
        ("log_level", "loud", "must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("log_level", "a\nb", "must be 'debug', 'info', 'warning' or 'error', not 'a\\nb'"),
        ("pol_interval", "5s", "unknown setting; did you mean poll_interval?"),
        ("zzz", 1, "unknown setting"),
    ],
)
def test_a_wrong_setting_gets_one_line_that_says_what_would_be_right(
    name: str, value: Any, line: str
) -> None:
    assert problems(overrides={name: value}) == [f"{name} (command line): {line}"]


def test_finality_below_the_default_tiers_is_refused_and_names_the_setting_to_change() -> None:
    assert problems(overrides={"finality_burn_blocks": 3}) == [
        "confirmation_tiers: sbtc: level settled waits for 6 Bitcoin blocks, but finality_burn_blocks is 3; "
        "choose a lower level or raise finality_burn_blocks"
    ]


def test_several_problems_get_one_line_each_with_the_place_they_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = write(tmp_path / "config.toml", 'netwrok = "mainnet"\npoll_interval = "x"\n')
    write(tmp_path / "api_key", "a b")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SBTC_WATCHER_RETENTION_DAYS", "many")
    monkeypatch.setenv("SBTC_WATCHER_LOGLEVEL", "info")
    assert sorted(problems(config, {"start_height": "x"})) == [
        "SBTC_WATCHER_LOGLEVEL: unknown setting; did you mean SBTC_WATCHER_LOG_LEVEL?",
        "api_key (credentials directory): must be printable ASCII without spaces, "
        "as it travels in an HTTP header",
        f"netwrok ({config}): unknown setting; did you mean network?",
        f"poll_interval ({config}): 'x' is not a duration; "
        "write 500ms, 5s, 2m, 24h, 5d or a number of seconds",
        "retention_days (SBTC_WATCHER_RETENTION_DAYS): must be a whole number, not 'many'",
        "start_height (command line): 'x' is not a height; write tip or a block height from 1",
    ]


def test_a_wrong_network_is_told_once_and_not_again_for_what_hangs_on_it() -> None:
    lines = problems(overrides={"network": "main", "payment_contract": PAYMENTS, "ignored_senders": PAYMENTS})
    assert [line.partition(" ")[0] for line in lines] == ["network"]


def test_an_unknown_variable_that_resembles_nothing_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBTC_WATCHER_XYZZY", "1")
    assert problems() == ["SBTC_WATCHER_XYZZY: unknown setting"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent, directory, broken, binary = (
        tmp_path / name for name in ("absent", "directory", "broken", "binary")
    )
    directory.mkdir()
    write(broken, "poll_interval = \n")
    binary.write_bytes(b"\xff\xfe")
    assert problems(absent) == [
        f"{absent}: cannot read the settings file: no such file or directory; "
        "check --config or SBTC_WATCHER_CONFIG"
    ]
    assert "is a directory" in problems(directory)[0]
    assert problems(broken) == [f"{broken}: is not TOML: Invalid value (at line 1, column 17)"]
    assert problems(binary)[0].startswith(f"{binary}: is not TOML: 'utf-8' codec can't decode")


def test_a_credentials_directory_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "absent"))
    assert problems() == [
        f"CREDENTIALS_DIRECTORY: {tmp_path / 'absent'} is not a directory; systemd sets it by LoadCredential="
    ]
    (tmp_path / "api_key").write_bytes(b"\xff")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert problems()[0].startswith(f"CREDENTIALS_DIRECTORY: cannot read a file in {tmp_path}: ")


def test_a_contract_id_with_a_wrong_character_is_refused() -> None:
    (line,) = problems(overrides={"payment_contract": PAYMENTS.replace("2Q6", "2Q7")})
    assert line.startswith(
        "payment_contract (command line): SP000000000000000000002Q7VF78 has a bad checksum"
    )


NODE = {"node_url": "http://127.0.0.1:20443", "node_observer_bind": "127.0.0.1:3700"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"node_observer_bind": None}, "is missing beside node_url; write both"),
        ({"node_observer_bind": "8.8.8.8:3700"}, "is a public address, and a node's posts carry no password"),
        ({"node_observer_bind": "[2001:4860:4860::8888]:3700"}, "is a public address"),
        ({"node_observer_bind": "3700"}, "'3700' is not host:port"),
        ({"api_urls": ["http://127.0.0.1:20443/"]}, "names node_url, which is a node"),
        ({"verify_amount_over": {"sbtc": 5}, "api_urls": []}, "needs a second source"),
    ],
)
def test_a_node_needs_its_settings_to_fit_together(changes: dict[str, object], error: str) -> None:
    """RPC and observer come together; posts are taken only where no stranger can send them."""
    assert any(error in text for text in problems(overrides=NODE | changes))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.5", "0.0.0.0", "localhost"])
def test_a_node_may_be_the_only_source(host: str) -> None:
    """Its host gets no API key."""
    settings = load_settings(overrides=NODE | {"node_observer_bind": f"{host}:3700", "api_urls": []})
    assert settings.source_urls == ("http://127.0.0.1:20443",)
    assert settings.key_for("http://127.0.0.1:20443") is None
    assert settings.node_observer_address == (host.strip("[]"), 3700)


def test_an_api_on_the_nodes_host_gets_the_key_and_the_node_does_not() -> None:
    """The key was set for the API."""
    urls = {"api_urls": ["http://127.0.0.1:3999"], "api_key": "key"}
    settings = load_settings(overrides=NODE | urls)
    assert (settings.key_for("http://127.0.0.1:3999"), settings.key_for("http://127.0.0.1:20443")) == (
        "key",
        None,
    )
