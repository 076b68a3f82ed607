"""Compare the assets of the settings with what their contracts say of themselves."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from chain.api.token_facts import read_token_facts
from chain.api.transport import Fetcher, Timeouts
from chain.errors import SourceError
from contracts.networks import AssetSpec
from watcher import __version__
from watcher.concurrency import run_until_stopped
from watcher.config.settings import Settings
from watcher.log import get_logger

#: Timeouts for one source, seconds.
_TIMEOUTS = Timeouts(connect=5.0, read=10.0, total=15.0)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetCheck:
    """The result for one asset: what its contract says, and whether the settings contradict it."""

    asset: AssetSpec
    #: None when no node could be asked.
    is_right: bool | None
    text: str


async def check_assets(settings: Settings) -> list[AssetCheck]:
    """Compare every asset that has a contract, at the first source whose node can be asked.

    A source that fails makes no exception, but a result without an answer.
    """
    checks: list[AssetCheck] = []
    for url in settings.source_urls:
        fetcher = Fetcher(
            url,
            user_agent=f"sbtc-watcher/{__version__}",
            api_key=settings.key_for(url),
            timeouts=_TIMEOUTS,
            client=None,
        )
        try:
            checks = await _check_all(fetcher, settings.assets.values(), settings.network_facts.usdcx)
        finally:
            await fetcher.aclose()
        if any(check.is_right is not None for check in checks):
            break
    return checks


async def log_asset_checks(settings: Settings, stop: asyncio.Event) -> None:
    """Compare the assets once, and log what the chain contradicts; nothing waits for it."""
    for check in await run_until_stopped(stop, check_assets(settings)) or ():
        fields = {"asset": check.asset.name, "identifier": check.asset.identifier}
        if check.is_right is False:
            log.error("asset.differs", **fields, reason=check.text, hint="see `sbtc-watcher check --assets`")
        else:
            log.info("asset.checked", **fields, said=check.text)


async def _check_all(fetcher: Fetcher, assets: Iterable[AssetSpec], known: str | None) -> list[AssetCheck]:
    return [await _check(fetcher, asset, known) for asset in assets if asset.contract is not None]


async def _check(fetcher: Fetcher, asset: AssetSpec, known: str | None) -> AssetCheck:
    """Compare one asset; ``known`` is the identifier of one that no setting asked for."""
    assert asset.contract is not None, "STX has no contract to ask"
    try:
        facts = await read_token_facts(fetcher, asset.contract)
    except SourceError as error:
        # Without the source and the path, which names the contract again.
        text = str(error).removeprefix(f"{fetcher.url}: ").partition(": ")[2] or str(error)
        return AssetCheck(asset=asset, is_right=None, text=f"no source could ask its contract: {text}")
    if facts is None and asset.identifier == known:
        return AssetCheck(asset=asset, is_right=None, text="the contract does not exist there")
    if facts is None:
        text = "the contract has no get-symbol and get-decimals; see whether its id is right"
        return AssetCheck(asset=asset, is_right=False, text=text)
    said = f"symbol {facts.symbol}, {facts.decimals} decimals"
    if facts.decimals != asset.decimals:
        text = f"{said}, but the settings say {asset.decimals}: amounts would be shown wrong"
        return AssetCheck(asset=asset, is_right=False, text=text)
    return AssetCheck(asset=asset, is_right=True, text=said)
