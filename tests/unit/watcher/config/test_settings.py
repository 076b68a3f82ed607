"""Settings: sources and their precedence, defaults, levels, masking, and the example file."""

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from watcher.config import load as module
from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.domain.levels import Level
from watcher.domain.model import LEVELS, Depth, LatePolicy

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
PAYMENTS = "SP000000000000000000002Q6VF78.sbtc-payments"
TESTNET_PAYMENTS = "ST000000000000000000002AMW42H.sbtc-payments"
TOKEN = "0123456789abcdef"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# Defaults


def test_without_any_source_every_setting_has_its_documented_default() -> None:
    shown = load_settings().show()
    state = os.path.expanduser("~/.local/state/sbtc-watcher")
    assert shown == {
        "network": "mainnet",
        "database_url": f"sqlite:///{state}/sbtc-watcher.db",
        "node_url": None,
        "node_observer_bind": None,
        "node_auth_token": None,
        "api_urls": ["https://api.mainnet.hiro.so"],
        "api_key": None,
        "api_keys": {},
        "api_requests_per_minute": None,
        "api_requests_per_month": None,
        "poll_interval": "5s",
        "websocket": True,
        "read_mode": "auto",
        "mempool": True,
        "mempool_interval": "15s",
        "start_height": "tip",
        "sbtc_contract": SBTC,
        "assets": {
            "sbtc": {"identifier": f"{SBTC}::sbtc-token", "decimals": 8},
            "stx": {"identifier": "STX", "decimals": 6},
            "usdcx": {
                "identifier": "SP120SBRBQJ00MCWS7TM5R8WJNTTKD5K0HFRC2CNE.usdcx::usdcx-token",
                "decimals": 6,
            },
        },
        "payment_contract": None,
        "finality_burn_blocks": 6,
        "confirmation_tiers": {
            "sbtc": [
                {"below": 100000, "level": "included"},
                {"below": 10000000, "level": "anchored"},
                {"level": "settled"},
            ],
            "stx": [{"level": "anchored"}],
            "usdcx": [{"level": "anchored"}],
        },
        "default_ttl": "1h",
        "inclusion_grace": "10m",
        "monitoring": "1d",
        "reorg_grace": "2h",
        "late_policy": "hold",
        "ignored_senders": ["SP000000000000000000002Q6VF78.pox-5"],
        "verify_amount_over": {},
        "public_url": None,
        "explorer_url": "https://explorer.hiro.so",
        "secret_key_file": None,
        "http_bind": "127.0.0.1:8420",
        "admin_token": None,
        "http_rate_limit": 600,
        "http_cors_origins": [],
        "ready_max_lag": "10m",
        "webhook_retry_schedule": ["0s", "1m", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "1d"],
        "webhook_timeout": "15s",
        "webhook_concurrency": 256,
        "webhook_endpoint_concurrency": 8,
        "webhook_endpoint_rate": None,
        "webhook_allow_http": False,
        "webhook_allow_private": False,
        "webhook_disable_after": "5d",
        "retention_days": 90,
        "log_format": "auto",
        "log_level": "info",
    }


def test_durations_are_seconds_and_chain_times_whole_ones() -> None:
    settings = Settings()
    assert (settings.poll_interval, settings.webhook_retry_schedule[:3]) == (5.0, (0.0, 60.0, 300.0))
    chain_times = (settings.default_ttl, settings.inclusion_grace, settings.monitoring, settings.reorg_grace)
    assert chain_times == (3600, 600, 86400, 7200)
    assert all(type(seconds) is int for seconds in chain_times)


@pytest.mark.parametrize("network", ["mainnet", "testnet", "devnet"])
def test_each_network_has_its_own_defaults(network: str) -> None:
    settings = load_settings(overrides={"network": network})
    facts = settings.network_facts
    assert facts.name == network
    assert settings.api_urls == (facts.api_url,)
    assert settings.sbtc_contract == facts.sbtc_contract
    assert settings.assets["sbtc"].identifier == f"{facts.sbtc_contract}::sbtc-token"
    assert settings.ignored_senders == facts.ignored_senders


def test_the_database_lies_in_the_state_directory_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/sbtc-watcher:/var/lib/other")
    assert load_settings().database_url == "sqlite:////var/lib/sbtc-watcher/sbtc-watcher.db"


# Sources


def test_command_line_beats_environment_beats_credentials_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [f"{name} = {value}" for value, name in enumerate(_COUNTS[:4], 1)]
    config = write(tmp_path / "config.toml", "\n".join(lines))
    for name in _COUNTS[:3]:
        write(tmp_path / name, "20\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in _COUNTS[:2]:
        monkeypatch.setenv(f"SBTC_WATCHER_{name.upper()}", "300")
    settings = load_settings(config, {_COUNTS[0]: 4000, _COUNTS[1]: None})
    assert [getattr(settings, name) for name in _COUNTS] == [4000, 300, 20, 4, 8]


_COUNTS = [
    "retention_days",
    "finality_burn_blocks",
    "webhook_concurrency",
    "api_requests_per_minute",
    "webhook_endpoint_concurrency",
]


def test_the_file_is_the_one_named_on_the_command_line_else_in_the_environment_else_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    default, named, given = (
        write(tmp_path / f"{days}.toml", f"retention_days = {days}") for days in (1, 2, 3)
    )
    monkeypatch.setattr(module, "DEFAULT_CONFIG", default)
    assert load_settings().retention_days == 1
    monkeypatch.setenv("SBTC_WATCHER_CONFIG", str(named))
    assert load_settings().retention_days == 2
    assert load_settings(given).retention_days == 3


def test_direct_construction_reads_neither_environment_nor_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SBTC_WATCHER_RETENTION_DAYS", "1")
    monkeypatch.setattr(module, "DEFAULT_CONFIG", write(tmp_path / "config.toml", "retention_days = 2"))
    settings = Settings(database_url="sqlite:///x.db", network="devnet", poll_interval="50ms")
    assert (settings.retention_days, settings.network, settings.poll_interval) == (90, "devnet", 0.05)
    with pytest.raises(ValidationError):
        settings.retention_days = 3  # type: ignore[misc]


def test_a_credential_file_is_named_like_its_setting_and_trimmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "api_key", "key-1\n")
    write(tmp_path / "something-else", "not ours")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_settings().api_key == SecretStr("key-1")


@pytest.mark.parametrize("text", ["http://a:3999, https://b/api/ ,", '["http://a:3999", "https://b/api/"]'])
def test_a_list_in_the_environment_is_json_or_comma_separated(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SBTC_WATCHER_API_URLS", text)
    assert load_settings().api_urls == ("http://a:3999", "https://b/api")


def test_a_schedule_in_the_environment_is_a_list_of_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBTC_WATCHER_WEBHOOK_RETRY_SCHEDULE", "0s,500ms,2m")
    assert load_settings().webhook_retry_schedule == (0.0, 0.5, 120.0)


def test_tables_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    usd = {"usd": {"identifier": f"{PAYMENTS}::usd", "decimals": 6}}
    monkeypatch.setenv("SBTC_WATCHER_ASSETS", json.dumps(usd))
    monkeypatch.setenv("SBTC_WATCHER_CONFIRMATION_TIERS", '{"usd": [{"level": "included"}]}')
    settings = load_settings()
    assert list(settings.assets) == ["sbtc", "stx", "usdcx", "usd"]
    assert settings.level_for("usd", 1).name == "included"


def test_tables_in_the_file_are_toml(tmp_path: Path) -> None:
    text = f"""
    [[confirmation_tiers.sbtc]]
    below = 5
    level = {{stacks = 2, bitcoin = 0}}
    [[confirmation_tiers.sbtc]]
    level = "settled"
    [assets.usd]
    identifier = "{PAYMENTS}::usd"
    decimals = 6
    """
    settings = load_settings(write(tmp_path / "config.toml", text))
    assert settings.level_for("sbtc", 4) == Level(None, Depth(stacks=2, bitcoin=0))
    assert settings.level_for("sbtc", 5) == Level("settled", LEVELS["settled"])
    assert settings.show()["confirmation_tiers"]["sbtc"] == [
        {"below": 5, "level": "stacks=2,bitcoin=0"},
        {"level": "settled"},
    ]
    assert settings.show()["assets"]["usd"] == {"identifier": f"{PAYMENTS}::usd", "decimals": 6}


def test_an_empty_variable_clears_an_optional_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = write(tmp_path / "config.toml", f'payment_contract = "{PAYMENTS}"\nadmin_token = "{TOKEN}"')
    assert load_settings(config).payment_contract == PAYMENTS
    for name in ("PAYMENT_CONTRACT", "ADMIN_TOKEN", "HTTP_BIND", "API_REQUESTS_PER_MINUTE"):
        monkeypatch.setenv(f"SBTC_WATCHER_{name}", "")
    settings = load_settings(config)
    assert (settings.payment_contract, settings.admin_token, settings.http_address) == (None, None, None)
    assert settings.api_requests_per_minute is None


def test_what_is_shown_can_be_written_into_a_file_again(tmp_path: Path) -> None:
    settings = Settings(database_url="sqlite:///x.db", start_height="5", webhook_endpoint_rate=2.5)
    shown = {name: value for name, value in settings.show().items() if value is not None and name != "assets"}
    assert load_settings(overrides=shown) == settings


def test_every_setting_can_be_given_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        database_url="sqlite:///x.db",
        api_requests_per_month=7,
        start_height=5,
        payment_contract=PAYMENTS,
        webhook_endpoint_rate=2.5,
        webhook_retry_schedule=["0s", "1500ms"],
        websocket=False,
    )
    for name, value in settings.show().items():
        if value is not None and name != "assets":
            text = value if isinstance(value, str) else json.dumps(value)
            monkeypatch.setenv(f"SBTC_WATCHER_{name.upper()}", text)
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"http_bind": "[::1]:0"}, {"http_address": ("::1", 0)}),
        ({"http_bind": " localhost:80 "}, {"http_address": ("localhost", 80)}),
        ({"http_bind": ""}, {"http_address": None}),
        ({"http_rate_limit": "none"}, {"http_rate_limit": None}),
        (
            {"http_cors_origins": "https://a.example,http://b:8080"},
            {"http_cors_origins": ("https://a.example", "http://b:8080")},
        ),
        ({"public_url": "https://pay.example/shop/"}, {"public_url": "https://pay.example/shop"}),
        ({"public_url": "http://127.0.0.1:8420"}, {"public_url": "http://127.0.0.1:8420"}),
        ({"explorer_url": "https://scan.example/"}, {"explorer_url": "https://scan.example"}),
        ({"explorer_url": "none"}, {"explorer_url": None}),
        ({"network": "testnet"}, {"explorer_url": "https://explorer.hiro.so"}),
        ({"network": "devnet"}, {"explorer_url": None}),
        ({"start_height": "150000"}, {"start_height": 150000}),
        ({"late_policy": "accept"}, {"late_policy": LatePolicy.ACCEPT}),
        ({"log_level": "DEBUG"}, {"log_level": "debug"}),
        ({"websocket": "no"}, {"websocket": False}),
        ({"ignored_senders": []}, {"ignored_senders": frozenset()}),
        (
            {"verify_amount_over": "none", "secret_key_file": ""},
            {"verify_amount_over": {}, "secret_key_file": None},
        ),
        (
            {"verify_amount_over": '{"sbtc": 5}', "api_urls": "http://one.example, http://two.example"},
            {"verify_amount_over": {"sbtc": 5}},
        ),
        ({"network": "devnet", "payment_contract": TESTNET_PAYMENTS}, {"payment_contract": TESTNET_PAYMENTS}),
        ({"network": "devnet", "sbtc_contract": SBTC}, {"sbtc_contract": SBTC}),
        ({"network": "devnet", "ignored_senders": SBTC}, {"ignored_senders": frozenset({SBTC})}),
        (
            {"database_url": "postgresql+psycopg://w@db/watcher"},
            {"database_url": "postgresql+psycopg://w@db/watcher"},
        ),
    ],
)
def test_a_good_value_is_read(given: dict[str, object], expected: dict[str, object]) -> None:
    settings = load_settings(overrides=given)
    assert {name: getattr(settings, name) for name in expected} == expected


# Levels


def test_the_level_of_an_amount_goes_by_the_tiers_of_its_asset() -> None:
    settings = Settings()
    assert [settings.level_for("sbtc", n).name for n in (99_999, 100_000, 10_000_000)] == [
        "included",
        "anchored",
        "settled",
    ]
    with pytest.raises(KeyError):
        settings.level_for("usd", 1)


def test_a_merchants_level_may_not_be_deeper_than_finality() -> None:
    settings = Settings()
    assert settings.parse_level("anchored").depth == LEVELS["anchored"]
    with pytest.raises(ValueError, match="waits for 7 Bitcoin blocks, but finality_burn_blocks is 6"):
        settings.parse_level("stacks=1,bitcoin=7")


# Keys of sources


def test_the_api_key_goes_to_the_host_of_the_first_url_only() -> None:
    urls = [
        "https://API.one.example/v9",
        "http://api.one.example:3999",
        "https://two.example",
        "http://[::1]:80",
    ]
    settings = Settings(api_urls=urls, api_key="key-1")
    assert [settings.key_for(url) for url in urls] == ["key-1", "key-1", None, None]


def test_other_hosts_have_keys_of_their_own_by_host_or_host_and_port() -> None:
    urls = ["https://one.example", "https://two.example", "http://two.example:3999", "http://[::1]:3999"]
    keys = {"Two.example": "key-2", "two.example:3999": "key-3", "[::1]": "key-4"}
    settings = Settings(api_urls=urls, api_key="key-1", api_keys=keys)
    assert [settings.key_for(url) for url in urls] == ["key-1", "key-2", "key-3", "key-4"]
    assert Settings(api_urls=urls, api_keys={"one.example": "own"}, api_key="key-1").key_for(urls[0]) == "own"
    # As a client writes the first one, with its usual port left out or not.
    assert settings.key_for("https://two.example:443/") == "key-2"


def test_the_keys_come_as_json_from_the_environment_and_from_a_credential(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "api_keys", '{"api.mainnet.hiro.so": "key-1"}\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_settings().key_for("https://api.mainnet.hiro.so") == "key-1"
    monkeypatch.setenv("SBTC_WATCHER_API_KEYS", '{"api.mainnet.hiro.so": "key-2"}')
    assert load_settings().key_for("https://api.mainnet.hiro.so") == "key-2"
    monkeypatch.setenv("SBTC_WATCHER_API_KEYS", "")
    assert load_settings().api_keys == {}


# Masking


def test_secrets_and_the_database_password_are_never_shown() -> None:
    settings = Settings(
        api_key="hunter2",
        api_keys={"api.mainnet.hiro.so": "hunter2"},
        admin_token="hunter2hunter2hunter2",
        database_url="postgresql+psycopg://w:hunter2@db/x",
    )
    shown = settings.show()
    assert shown["api_key"] == shown["admin_token"] == "**********"
    assert shown["database_url"] == settings.database_url_masked == "postgresql+psycopg://w:***@db/x"
    assert shown["api_keys"] == {"api.mainnet.hiro.so": "**********"}
    assert "hunter2" not in json.dumps(shown) + repr(settings.api_keys)
    assert "hunter2" not in str(settings.api_key) + repr(settings.admin_token)


# The example file


#: Settings that the example file shows with a value other than the default, or in a table.
EXAMPLES = {
    "database_url",
    "node_url",
    "node_observer_bind",
    "node_auth_token",
    "api_key",
    "api_keys",
    "api_requests_per_minute",
    "api_requests_per_month",
    "payment_contract",
    "assets",
    "confirmation_tiers",
    "admin_token",
    "http_cors_origins",
    "public_url",
    "secret_key_file",
    "webhook_endpoint_rate",
}


def test_the_example_file_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    """Uncommented as a whole, the example changes only what it marks as an example."""
    example = Path(__file__).parents[4] / "systemd" / "config.toml.example"
    text = example.read_text(encoding="utf-8")
    unit = Settings(database_url="sqlite:////var/lib/sbtc-watcher/sbtc-watcher.db")
    assert load_settings(example) == unit, (
        "the unit's database is named, so that commands come to the same one"
    )
    uncommented = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
    )
    settings = load_settings(write(tmp_path / "config.toml", uncommented))
    for name in Settings.model_fields:
        assert f"{name} = " in text or f"[{name}." in text or f"# {name}: " in text, (
            f"{name} is not explained"
        )
        if name not in EXAMPLES:
            assert getattr(settings, name) == getattr(Settings(), name), name
    assert settings.confirmation_tiers["sbtc"] == Settings().confirmation_tiers["sbtc"]
