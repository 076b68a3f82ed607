"""The checks of ``check``; each result is a :class:`Finding`."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from chain.api.capabilities import Reading
from chain.api.client import StacksApi
from chain.api.dates import agreed
from chain.api.transport import Fetcher, Timeouts
from chain.errors import ChainError, SourceError, SourceRefused
from chain.node.answers import NodeInfo
from chain.node.rpc import NodeRpc
from chain.node.source import MINIMUM_VERSION, TOLERATED_LAG_BLOCKS
from chain.node.watch import TELL_ASIDE_SECONDS
from chain.source_check import NETWORK_IDS
from notifier import endpoints as endpoint_store
from notifier import outbox
from notifier.schema import EndpointStatus
from watcher import __version__
from watcher.cli.format import size, span
from watcher.cli.render import count
from watcher.config.proxies import ignored
from watcher.config.settings import Settings
from watcher.errors import ConfigError
from watcher.services import asset_checks
from watcher.services.webhook_secrets import check_secrets, open_secret_store
from watcher.store import chain_state, node_posts
from watcher.store.database import Connection, Database

USER_AGENT = f"sbtc-watcher/{__version__}"

#: Accepted clock error, seconds; beyond it, receivers may reject webhook timestamps as too old.
CLOCK_TOLERANCE_SECONDS = 10.0

#: Timeouts for one source, seconds.
_TIMEOUTS = Timeouts(connect=5.0, read=10.0, total=15.0)

#: How a source's events are read, for people.
READINGS: Final = {
    Reading.BATCHES: "read in batches",
    Reading.COUNTED_BATCHES: "read in batches where there are events",
    Reading.SINGLE: "read one transaction at a time",
}

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check, printed as one line, with its effect on the exit code."""

    subject: str
    level: Level
    text: str
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        """Return the finding as a JSON document, without its exit code."""
        return {name: value for name, value in asdict(self).items() if name != "exit_code"}


def ok(subject: str, text: str) -> Finding:
    """Return a finding: passed."""
    return Finding(subject=subject, level="ok", text=text)


def note(subject: str, text: str) -> Finding:
    """Return a finding: missing or unknown, which may be intended."""
    return Finding(subject=subject, level="note", text=text)


def warning(subject: str, text: str) -> Finding:
    """Return a finding: the daemon works, but a person should look into it; exit code 1."""
    return Finding(subject=subject, level="warning", text=text, exit_code=1)


def error(subject: str, text: str, *, exit_code: int = 3) -> Finding:
    """Return a finding: the daemon could not work."""
    return Finding(subject=subject, level="error", text=text, exit_code=exit_code)


def check_settings(settings: Settings) -> list[Finding]:
    """Summarize the settings; warn of development settings on mainnet."""
    sources = count(len(settings.source_urls), "source")
    findings = [ok("settings", f"{settings.network}, {sources}, assets {', '.join(settings.assets)}")]
    if (proxies := ignored(os.environ)) is not None:
        findings.append(note("settings", proxies))
    if settings.network == "mainnet":
        findings += [
            warning("settings", f"{name} is on, which is for development")
            for name in ("webhook_allow_http", "webhook_allow_private")
            if getattr(settings, name)
        ]
    return findings


def check_database(database: Database, settings: Settings) -> list[Finding]:
    """Check the database's schema revision, its network, a halt, the endpoints and their secrets."""
    revision, head = database.revision(), database.head()
    if revision is None:
        missing = f"no database at {database.safe_url}: there are no tables in it"
        return [warning("database", f"{missing}. `sbtc-watcher run` creates them")]
    if revision != head:
        has = f"{database.safe_url} has revision {revision}, this version needs {head}"
        text = f"{has}; `sbtc-watcher db upgrade` upgrades it"
        # The next command that writes upgrades SQLite.
        return [note("database", text) if database.is_sqlite else error("database", text)]
    findings = [ok("database", f"{database.safe_url}, revision {revision}, {size(database.size())}")]
    with database.read() as connection:
        cursor = chain_state.load_cursor(connection)
        if cursor is not None and cursor.network != settings.network:
            text = f"it follows {cursor.network}, but the settings say {settings.network}"
            findings.append(error("database", f"{text}; each network needs its own database"))
        if cursor is not None and cursor.halted is not None:
            findings.append(error("daemon", f"halted: {cursor.halted['message']}. {cursor.halted['hint']}"))
        if settings.node_url is not None:
            findings += _check_posts(connection)
        findings += _check_endpoints(connection)
    return [*findings, *_check_secrets(database, settings)]


def _check_posts(connection: Connection) -> list[Finding]:
    newest, aside = node_posts.newest(connection), node_posts.put_aside(connection)
    if newest is None:
        findings = [warning("node", "it has posted nothing yet; see [[events_observer]] in docs/own-node.md")]
    else:
        findings = [ok("node", f"it posted block {newest[0]} {span(max(0.0, time.time() - newest[1]))} ago")]
    if aside is not None and time.time() - aside.at < TELL_ASIDE_SECONDS:
        ago = span(max(0.0, time.time() - aside.at))
        text = f"posts set aside: {aside.count}, the last {ago} ago, {aside.reason}"
        findings.append(warning("node", text))
    return findings


def _check_secrets(database: Database, settings: Settings) -> list[Finding]:
    try:
        secret_store = open_secret_store(settings)
        check_secrets(database, secret_store)
    except ConfigError as problem:
        text = "; ".join(filter(None, (str(problem), problem.hint)))
        return [error("secrets", text, exit_code=2)]
    return [ok("secrets", f"encrypted by {settings.secret_key_file}")] if secret_store.encrypts else []


def _check_endpoints(connection: Connection) -> list[Finding]:
    number = dict.fromkeys(EndpointStatus, 0)
    cursor: str | None = None
    while True:
        page, cursor = endpoint_store.list_endpoints(connection, limit=100, cursor=cursor)
        for row in page:
            number[row.status] += 1
        if cursor is None:
            break
    failing = outbox.stats(connection, now=time.time()).failing_endpoints
    if not any(number.values()):
        return [note("endpoints", "none yet")]
    text = f"{number[EndpointStatus.ENABLED]} enabled, {number[EndpointStatus.DISABLED]} disabled"
    if failing:
        return [warning("endpoints", f"{text}; failing: {', '.join(failing)}")]
    return [warning("endpoints", text) if number[EndpointStatus.DISABLED] else ok("endpoints", text)]


async def check_asset_contracts(settings: Settings, *, required: bool = False) -> list[Finding]:
    """Compare every asset with its contract, at the first source whose node can be asked.

    Unless it is ``required``, a source without a node is no error.
    """
    return [_asset_finding(check, required) for check in await asset_checks.check_assets(settings)]


def _asset_finding(check: asset_checks.AssetCheck, required: bool) -> Finding:
    text = f"{check.asset.name} {check.asset.contract}: {check.text}"
    if check.is_right is None:
        return error("asset", text) if required else note("asset", text)
    return ok("asset", text) if check.is_right else warning("asset", text)


async def check_sources(settings: Settings) -> list[Finding]:
    """Check the identity of every source, the contracts at one of them, and the clock against all."""
    checks = [_check_source(url, settings) for url in settings.api_urls]
    if settings.node_url is not None:
        checks.insert(0, _check_node(settings.node_url, settings))
    answers = await asyncio.gather(*checks)
    findings = [finding for answer in answers for finding in (answer.finding, *answer.notes)]
    good = [answer for answer in answers if answer.finding.level == "ok"]
    if good:
        # One working source is enough for the daemon: the others' errors become exit code 1.
        findings = [_as_degraded(finding) for finding in findings]
    apis = [answer for answer in good if answer.url != settings.node_url]
    if apis:
        findings += await _check_contracts(apis[0].url, settings)
    return [*findings, _check_clock([answer.ahead for answer in answers if answer.ahead is not None])]


class _LatencyRecorder:
    """A limiter that lets every request pass and records how long the last one took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def acquire(self) -> None:
        """Let the request pass."""

    def observe(self, code: int, seconds: float, headers: Mapping[str, str]) -> None:
        """Record the duration of a request."""
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    url: str
    finding: Finding
    ahead: float | None
    notes: tuple[Finding, ...] = ()


async def _check_source(url: str, settings: Settings) -> _Answer:
    api = StacksApi(url, user_agent=USER_AGENT, api_key=settings.key_for(url), timeouts=_TIMEOUTS)
    recorder = _LatencyRecorder()
    api.limiter = recorder
    try:
        finding = await _identify(api, recorder, settings)
    except ChainError as problem:
        text = str(problem).removeprefix(f"{api.url}: ")
        finding = error("source", f"{api.url}: {text} {getattr(problem, 'hint', '')}".strip())
    finally:
        await api.aclose()
    return _Answer(url=url, finding=finding, ahead=api.dates.ahead(api.url), notes=_endings(api))


async def _check_node(url: str, settings: Settings) -> _Answer:
    token = settings.node_auth_token
    rpc = NodeRpc(url, token=None if token is None else token.get_secret_value(), user_agent=USER_AGENT)
    recorder = _LatencyRecorder()
    rpc.limiter = recorder
    notes: tuple[Finding, ...] = ()
    try:
        info = await rpc.info()
        seconds = recorder.seconds
        _, tip = await rpc.tip()
        finding = await _identify_node(rpc, info, seconds, settings)
        notes = (await _check_replay(rpc, tip, has_api=bool(settings.api_urls)),)
    except ChainError as problem:
        text = str(problem).removeprefix(f"{rpc.url}: ")
        finding = error("source", f"{rpc.url}: {text} {getattr(problem, 'hint', '')}".strip())
    finally:
        await rpc.aclose()
    return _Answer(url=url, finding=finding, ahead=rpc.dates.ahead(rpc.url), notes=notes)


async def _identify_node(rpc: NodeRpc, info: NodeInfo, seconds: float, settings: Settings) -> Finding:
    version = info.server_version.partition(" (")[0]
    if info.network_id != NETWORK_IDS[settings.network]:
        text = f"{rpc.url} serves network id {info.network_id}, but the settings say {settings.network}"
        return error("source", text)
    if info.version is not None and info.version < MINIMUM_VERSION:
        least = ".".join(map(str, MINIMUM_VERSION[:2]))
        return error("source", f"{rpc.url} runs {version}, but {least} or newer is needed")
    text = f"{rpc.url}, {version}, tip {info.tip_height}, {seconds * 1000:.0f} ms, {settings.network}"
    if info.is_synced is False and (behind := await rpc.blocks_behind()) > TOLERATED_LAG_BLOCKS:
        return warning("source", f"{text}; still syncing, {count(behind, 'block')} behind its peers")
    return ok("source", f"{text}, own node")


async def _check_replay(rpc: NodeRpc, tip: str, *, has_api: bool) -> Finding:
    if not rpc.can_replay and has_api:
        return note("node", "no node_auth_token: blocks that were not posted come from an API")
    if not rpc.can_replay:
        return warning("node", "no node_auth_token and no API: a block that was not posted stops the cursor")
    try:
        block = await rpc.replay(tip)
    except SourceRefused as problem:
        return warning("node", f"it refuses to replay blocks. {problem.hint}")
    except SourceError as problem:
        return warning("node", f"it does not replay its tip: {str(problem).removeprefix(f'{rpc.url}: ')}")
    if block is None:
        return warning("node", f"it does not have its tip {tip} to replay")
    return ok("node", f"replays blocks, as tried with {block.header.height}")


def _endings(api: StacksApi) -> tuple[Finding, ...]:
    """Say which routes of a source end or have ended; nothing has to be done about it."""
    offers = api.capabilities
    gone = offers.gone | offers.absent
    findings = []
    if gone:
        findings.append(note("source", f"{api.url} has no {', '.join(sorted(gone))} any more"))
    if ending := offers.deprecated - gone:
        text = f"deprecated_routes: {api.url} announces the end of {', '.join(sorted(ending))}"
        findings.append(note("source", f"{text}; the daemon then goes on by others"))
    return tuple(findings)


async def _identify(api: StacksApi, recorder: _LatencyRecorder, settings: Settings) -> Finding:
    status = await api.status()
    if status.version is not None and status.version < api.minimum_version:
        least = ".".join(map(str, api.minimum_version[:2]))
        return error("source", f"{api.url} runs {status.server_version}, but {least} or newer is needed")
    text = f"{api.url}, {status.server_version}, tip {status.tip_height}, {recorder.seconds * 1000:.0f} ms"
    await api.probe()
    text += f", {READINGS[api.capabilities.reading]}"
    if api.capabilities.reading is Reading.SINGLE and settings.read_mode == "auto":
        text += ", where it pays those that concern us"
    try:
        network = await api.network_id()
    except SourceError:
        # An API without its own node answers 500 here.
        network = None
    if network is None:
        return ok("source", f"{text}, network not verified")
    if network != NETWORK_IDS[settings.network]:
        return error(
            "source", f"{api.url} serves network id {network}, but the settings say {settings.network}"
        )
    return ok("source", f"{text}, {settings.network}")


async def _check_contracts(url: str, settings: Settings) -> list[Finding]:
    names = {settings.sbtc_contract: "sBTC"}
    if settings.payment_contract is not None:
        names[settings.payment_contract] = "payments"
    for asset in settings.assets.values():
        # Who does not use USDCx need not care whether it is there; see the asset's own line.
        if asset.contract is not None and asset.identifier != settings.network_facts.usdcx:
            names.setdefault(asset.contract, asset.name)
    fetcher = Fetcher(
        url, user_agent=USER_AGENT, api_key=settings.key_for(url), timeouts=_TIMEOUTS, client=None
    )
    try:
        findings = [await _check_contract(fetcher, name, contract) for contract, name in names.items()]
    finally:
        await fetcher.aclose()
    if settings.payment_contract is None:
        findings.append(note("contract", "payments: none set; payers use a plain transfer with a memo"))
    return findings


async def _check_contract(fetcher: Fetcher, name: str, contract: str) -> Finding:
    subject = f"{name} {contract}"
    try:
        answer = await fetcher.get(f"/extended/v2/smart-contracts/status?contract_id={quote(contract)}")
        body = fetcher.json(answer)
    except SourceError:
        body = None
    entry = body.get(contract) if isinstance(body, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("found"), bool):
        return note("contract", f"{subject}: the source does not say whether it is deployed")
    result = entry.get("result")
    status = result.get("status") if isinstance(result, dict) else None
    if not entry["found"]:
        return error("contract", f"{subject} does not exist on this network", exit_code=1)
    if status != "success":
        return error("contract", f"{subject} was not deployed: {status}", exit_code=1)
    return ok("contract", f"{subject} is deployed")


def _check_clock(ahead: list[float]) -> Finding:
    off = agreed(ahead)
    if off is None:
        return note("clock", "no source returned its time")
    if abs(off) <= CLOCK_TOLERANCE_SECONDS:
        return ok("clock", "agrees with the sources")
    way = "ahead of" if off > 0 else "behind"
    return warning(
        "clock", f"{span(abs(off))} {way} the sources; set it, or receivers refuse webhooks as too old"
    )


def _as_degraded(finding: Finding) -> Finding:
    if finding.level != "error":
        return finding
    return Finding(subject=finding.subject, level="error", text=finding.text, exit_code=1)
