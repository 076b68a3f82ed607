"""The settings: one frozen object with every setting, its type, validation and default.

``Settings(…)`` takes its values from its arguments alone: it reads no environment and no file, except
``$STATE_DIRECTORY`` when no ``database_url`` is given. :func:`watcher.config.load.load_settings` reads the
sources.
"""

import os
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    PlainSerializer,
    SecretStr,
    SkipValidation,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from chain.address import parse_principal
from contracts.networks import NETWORKS, AssetSpec, Network, NetworkName
from notifier.retry import DEFAULT_SCHEDULE
from watcher.config import assets as asset_settings
from watcher.config.assets import Tier
from watcher.config.types import (
    LIST,
    RAW,
    Count,
    LogFormat,
    LogLevel,
    OptionalCount,
    OptionalPath,
    OptionalRate,
    OptionalSecret,
    OptionalText,
    OptionalToken,
    StartHeight,
    Ttl,
    host_of,
    hosts_of,
    none_if_blank,
    parse_api_url,
    parse_bind,
    parse_private_bind,
    read_json,
    read_keys,
)
from watcher.domain.levels import Level, parse_level
from watcher.domain.model import LatePolicy
from watcher.domain.server_info import ServerInfo
from watcher.durations import ChainSeconds, PositiveSeconds, Seconds
from watcher.urls import parse_origin, parse_page_url

PREFIX = "SBTC_WATCHER_"


def default_database_url() -> str:
    """Return the SQLite file in ``$STATE_DIRECTORY`` (systemd's), else in ``~/.local/state/sbtc-watcher``."""
    # systemd separates several directories by colons; the first is the unit's own.
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return f"sqlite:///{state or os.path.expanduser('~/.local/state/sbtc-watcher')}/sbtc-watcher.db"


class Settings(BaseSettings):
    """Every setting with its default. Immutable; ``systemd/config.toml.example`` explains each.

    :raises pydantic.ValidationError: for invalid values.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    network: NetworkName = NetworkName.MAINNET
    database_url: str = Field(default_factory=default_database_url)
    #: RPC of an own node, the first source; the others are then optional.
    node_url: OptionalText = None
    node_observer_bind: OptionalText = None
    node_auth_token: OptionalSecret = None
    api_urls: Annotated[tuple[str, ...], RAW, LIST] = Field(
        default_factory=lambda data: (NETWORKS[data["network"]].api_url,)
    )
    #: Key for the host of the first URL; see :meth:`key_for`.
    api_key: OptionalSecret = None
    #: Keys by ``host`` or ``host:port``.
    api_keys: Annotated[dict[str, SecretStr], RAW, SkipValidation] = {}
    api_requests_per_minute: OptionalCount = None
    api_requests_per_month: OptionalCount = None
    poll_interval: PositiveSeconds = 5.0
    websocket: bool = True
    #: Which transactions are read of an API without batches: where it pays, those that concern us, or all.
    read_mode: Literal["auto", "all"] = "auto"
    mempool: bool = True
    mempool_interval: PositiveSeconds = 15.0
    start_height: StartHeight = "tip"
    sbtc_contract: str = Field(default_factory=lambda data: NETWORKS[data["network"]].sbtc_contract)
    #: Assets by short name: ``sbtc``, ``stx`` and the configured ones.
    assets: Annotated[dict[str, AssetSpec], RAW, SkipValidation] = {}
    payment_contract: OptionalText = None
    finality_burn_blocks: Count = 6
    #: Tiers by the short name of the asset, for every asset.
    confirmation_tiers: Annotated[dict[str, tuple[Tier, ...]], RAW, SkipValidation] = {}
    default_ttl: Ttl = 3600
    inclusion_grace: ChainSeconds = 600
    monitoring: ChainSeconds = 86400
    reorg_grace: ChainSeconds = 7200
    late_policy: LatePolicy = LatePolicy.HOLD
    ignored_senders: Annotated[frozenset[str], RAW, LIST, PlainSerializer(sorted, return_type=list[str])] = (
        Field(default_factory=lambda data: NETWORKS[data["network"]].ignored_senders)
    )
    #: By the short name of the asset, base units: a success above it needs a second source.
    verify_amount_over: Annotated[dict[str, int], RAW, SkipValidation] = {}
    public_url: OptionalText = None
    explorer_url: OptionalText = Field(default_factory=lambda data: NETWORKS[data["network"]].explorer_url)
    #: Read by :func:`watcher.services.webhook_secrets.open_secret_store`.
    secret_key_file: OptionalPath = None
    http_bind: str = "127.0.0.1:8420"
    admin_token: OptionalToken = None
    #: Requests per minute and key.
    http_rate_limit: OptionalCount = 600
    http_cors_origins: Annotated[tuple[str, ...], RAW, LIST] = ()
    ready_max_lag: PositiveSeconds = 600.0
    webhook_retry_schedule: Annotated[tuple[Seconds, ...], RAW, LIST, Field(min_length=1)] = DEFAULT_SCHEDULE
    webhook_timeout: PositiveSeconds = 15.0
    webhook_concurrency: Count = 256
    webhook_endpoint_concurrency: Count = 8
    webhook_endpoint_rate: OptionalRate = None
    webhook_allow_http: bool = False
    webhook_allow_private: bool = False
    webhook_disable_after: PositiveSeconds = 5 * 86400.0
    retention_days: Count = 90
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the arguments only; ``load_settings`` reads the other sources and names each value's origin."""
        return (init_settings,)

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        right = "write sqlite:////path/to/file.db or postgresql+psycopg://user@host/database"
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            raise ValueError(f"is not a database URL; {right}") from None
        if url.drivername not in {"sqlite", "postgresql+psycopg"}:
            raise ValueError(f"{url.drivername} is not supported; {right}")
        if not url.database or url.database == ":memory:" or {"mode", "uri"} & set(url.query):
            raise ValueError(f"names no database that outlives the process; {right}")
        return value

    @field_validator("node_url")
    @classmethod
    def _check_node_url(cls, value: str | None) -> str | None:
        return None if value is None else parse_api_url(value, key="node_auth_token")

    @field_validator("node_observer_bind")
    @classmethod
    def _check_node_observer_bind(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "node_url" in info.data and (info.data["node_url"] is None) != (value is None):
            missing = "needs node_url, the node's RPC" if value is not None else "is missing beside node_url"
            raise ValueError(
                f"{missing}; write both, for example http://127.0.0.1:20443 and 127.0.0.1:3700, or neither"
            )
        return None if value is None else parse_private_bind(value)

    @field_validator("api_urls")
    @classmethod
    def _check_api_urls(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        urls = tuple(parse_api_url(url) for url in value)
        if not urls and info.data.get("node_url") is None:
            raise ValueError(
                "is empty; name at least one Stacks API, or leave it out for the network's public one"
            )
        if info.data.get("node_url") in urls:
            raise ValueError("names node_url, which is a node; name Stacks APIs, or none")
        if len({(host_of(url), urlsplit(url).path) for url in urls}) != len(urls):
            raise ValueError("names a source twice; two sources count as independent opinions")
        return urls

    @field_validator("api_keys", mode="before")
    @classmethod
    def _read_api_keys(cls, value: object, info: ValidationInfo) -> object:
        urls = info.data.get("api_urls")
        return {} if urls is None else read_keys(value, urls)

    @field_validator("sbtc_contract", "payment_contract")
    @classmethod
    def _check_contract(cls, value: str | None, info: ValidationInfo) -> str | None:
        network = _network(info)
        return value if value is None or network is None else network.parse_contract(value)

    @field_validator("ignored_senders")
    @classmethod
    def _check_senders(cls, value: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        if (network := _network(info)) is not None:
            mainnet = None if network.name is NetworkName.DEVNET else network.mainnet
            for sender in value:
                parse_principal(sender, mainnet=mainnet)
        return value

    @field_validator("assets", mode="before")
    @classmethod
    def _read_assets(cls, value: object, info: ValidationInfo) -> object:
        network, sbtc_contract = _network(info), info.data.get("sbtc_contract")
        if network is None or sbtc_contract is None:
            return {}  # reported for those settings
        table = read_json(value, '{"usd": {"identifier": "…", "decimals": 6}}')
        return asset_settings.read_assets(table, network, sbtc_contract)

    @field_validator("confirmation_tiers", mode="before")
    @classmethod
    def _read_tiers(cls, value: object, info: ValidationInfo) -> object:
        if not info.data.get("assets") or "finality_burn_blocks" not in info.data:
            return {}
        table = read_json(value, '{"sbtc": [{"below": 100000, "level": "included"}, {"level": "anchored"}]}')
        return asset_settings.read_tiers(table, info.data["assets"], info.data["finality_burn_blocks"])

    @field_validator("verify_amount_over", mode="before")
    @classmethod
    def _read_limits(cls, value: object, info: ValidationInfo) -> object:
        if not info.data.get("assets") or "api_urls" not in info.data:
            return {}
        example = '{"sbtc": 10000000}'
        limits = asset_settings.read_limits(read_json(none_if_blank(value), example), info.data["assets"])
        urls = [*info.data["api_urls"], *filter(None, [info.data.get("node_url")])]
        if limits and len({host_of(url) for url in urls}) < 2:
            raise ValueError("needs a second source that is not of the same host; add one to api_urls")
        return limits

    @field_validator("public_url", "explorer_url")
    @classmethod
    def _check_base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "?" in value or "#" in value:
            raise ValueError(f"{value!r} is no base of links; write https://pay.shop.example")
        return parse_page_url(value).rstrip("/")

    @field_validator("http_cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(parse_origin(origin) for origin in value)

    @field_validator("http_bind")
    @classmethod
    def _check_http_bind(cls, value: str) -> str:
        parse_bind(value)
        return value.strip()

    def key_for(self, url: str) -> str | None:
        """Return the API key for a source, None for none; a key is sent only to the host it was set for."""
        if url == self.node_url:
            return None
        host_and_port, host = hosts_of(url)
        key = self.api_keys.get(host_and_port) or self.api_keys.get(host)
        if key is None and self.api_urls and host == hosts_of(self.api_urls[0])[1]:
            key = self.api_key
        return None if key is None else key.get_secret_value()

    @property
    def source_urls(self) -> tuple[str, ...]:
        """Base URLs of all sources in order: the own node's, then the APIs'."""
        return (*filter(None, [self.node_url]), *self.api_urls)

    @property
    def node_observer_address(self) -> tuple[str, int] | None:
        """Host and port that the own node posts to, None without one."""
        return parse_bind(self.node_observer_bind or "")

    @property
    def network_facts(self) -> Network:
        """The constants of the network."""
        return NETWORKS[self.network]

    @property
    def server_info(self) -> ServerInfo:
        """What intents' documents say of this server."""
        return ServerInfo(
            network=self.network.value,
            payment_contract=self.payment_contract,
            public_url=self.public_url,
            explorer_url=self.explorer_url,
        )

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port to listen on (port 0: any free port), None for no HTTP server."""
        return parse_bind(self.http_bind)

    @property
    def database_url_masked(self) -> str:
        """The database URL with its password masked."""
        return make_url(self.database_url).render_as_string(hide_password=True)

    def needs_two_sources(self, asset: str, amount: int) -> bool:
        """Return whether a success of ``amount`` base units of an asset needs a second source."""
        limit = self.verify_amount_over.get(asset)
        return limit is not None and amount > limit

    def level_for(self, asset: str, amount: int) -> Level:
        """Return the default confirmation level for ``amount`` base units of an asset.

        :raises KeyError: for an asset that is not in :attr:`assets`.
        """
        return asset_settings.tier_level(self.confirmation_tiers[asset], amount)

    def parse_level(self, value: object) -> Level:
        """Parse a confirmation level of a merchant or intent.

        :raises ValueError: when it is invalid, or needs more Bitcoin blocks than ``finality_burn_blocks``.
        """
        return asset_settings.check_final(parse_level(value), self.finality_burn_blocks)

    def show(self) -> dict[str, Any]:
        """Return every setting in order, JSON-ready, as a user would write it; secrets are masked."""
        shown = self.model_dump(mode="json", exclude={"assets", "confirmation_tiers"})
        shown["database_url"] = self.database_url_masked
        shown["assets"] = {
            asset.name: {"identifier": asset.identifier, "decimals": asset.decimals}
            for asset in self.assets.values()
        }
        shown["confirmation_tiers"] = {
            name: [({} if t.below is None else {"below": t.below}) | {"level": str(t.level)} for t in tiers]
            for name, tiers in self.confirmation_tiers.items()
        }
        return {name: shown[name] for name in type(self).model_fields}


def _network(info: ValidationInfo) -> Network | None:
    """Return the network, None when that setting is invalid itself."""
    name = info.data.get("network")
    return None if name is None else NETWORKS[name]
