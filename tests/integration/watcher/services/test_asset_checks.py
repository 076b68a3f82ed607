"""The assets of the settings against what their contracts say, asked through a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from watcher.cli.checks import check_asset_contracts
from watcher.config.settings import Settings
from watcher.services.asset_checks import AssetCheck, check_assets, log_asset_checks

USDCX = "SP120SBRBQJ00MCWS7TM5R8WJNTTKD5K0HFRC2CNE.usdcx"


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """A server with a node behind it, on which sBTC and USDCx are deployed."""
    async with ScriptedApi(ScriptedChain(), network_id=1, ping_interval=None) as server:
        server.tokens[USDCX] = ("USDCx", 6)
        yield server


def settings_of(*urls: str) -> Settings:
    return Settings(api_urls=urls)


def by_name(checks: list[AssetCheck]) -> dict[str, tuple[bool | None, str]]:
    return {check.asset.name: (check.is_right, check.text) for check in checks}


async def test_assets_that_the_chain_confirms(api: ScriptedApi) -> None:
    """Symbol and decimals come from the contract; STX has none to ask."""
    assert by_name(await check_assets(settings_of(api.url))) == {
        "sbtc": (True, "symbol sBTC, 8 decimals"),
        "usdcx": (True, "symbol USDCx, 6 decimals"),
    }


async def test_decimals_that_the_contract_contradicts_are_wrong(api: ScriptedApi) -> None:
    """Amounts would be shown a hundred times too small or too large."""
    api.tokens[USDCX] = ("USDCx", 8)
    found = by_name(await check_assets(settings_of(api.url)))
    assert found["usdcx"] == (
        False,
        "symbol USDCx, 8 decimals, but the settings say 6: amounts would be shown wrong",
    )


async def test_a_contract_that_is_not_there_is_wrong(api: ScriptedApi) -> None:
    """An id that no token has is a mistake of the settings; no setting asked for USDCx."""
    api.tokens.clear()
    found = by_name(await check_assets(settings_of(api.url)))
    is_right, text = found["sbtc"]
    assert is_right is False
    assert "see whether its id is right" in text
    assert found["usdcx"] == (None, "the contract does not exist there")


async def test_a_source_without_a_node_says_nothing_and_the_next_one_is_asked(api: ScriptedApi) -> None:
    """What cannot be asked is neither right nor wrong."""
    async with ScriptedApi(ScriptedChain(), ping_interval=None) as mute:
        assert {right for right, _ in by_name(await check_assets(settings_of(mute.url))).values()} == {None}
        both = by_name(await check_assets(settings_of(mute.url, api.url)))
        assert both["sbtc"] == (True, "symbol sBTC, 8 decimals")


@pytest.mark.parametrize(
    "body",
    [
        b'{"okay": true}',
        b'{"okay": true, "result": "0x"}',
        b'{"okay": true, "result": "zz"}',
        b'{"okay": true, "result": 5}',
        b'{"okay": true, "result": "0x%b"}' % (b"0d00010000" + b"61" * 70_000),
        b'["okay"]',
        b"<html>",
    ],
)
async def test_a_hostile_answer_is_no_answer(api: ScriptedApi, body: bytes) -> None:
    """Whatever a source sends instead of a value, the check ends with a sentence."""
    api.faults.malformed(body, times=None, route="call_read")
    for is_right, text in by_name(await check_assets(settings_of(api.url))).values():
        assert not is_right
        assert text


@pytest.mark.parametrize(("required", "code"), [(True, 3), (False, 0)])
async def test_a_comparison_that_was_asked_for_and_cannot_be_made_is_an_error(
    required: bool, code: int
) -> None:
    """``check`` by itself does without; ``check --assets`` says that it could not."""
    async with ScriptedApi(ScriptedChain(), ping_interval=None) as mute:
        findings = await check_asset_contracts(settings_of(mute.url), required=required)
    assert {finding.exit_code for finding in findings} == {code}


async def test_the_daemon_logs_what_the_chain_contradicts(api: ScriptedApi) -> None:
    """Once at its start, as an error with the command that shows more."""
    api.tokens[harness.MAINNET.sbtc_contract] = ("sBTC", 6)
    with capture_logs() as logs:
        await log_asset_checks(settings_of(api.url), asyncio.Event())
    assert [(line["event"], line["asset"]) for line in logs] == [
        ("asset.differs", "sbtc"),
        ("asset.checked", "usdcx"),
    ]
    assert "check --assets" in logs[0]["hint"]
