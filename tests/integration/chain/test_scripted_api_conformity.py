"""Conformity of the scripted API with the real server (v9.0.2), recorded while fed the same story.

Each recording is replayed at the stage of the story at which it was made. ``EXACT``: equal bodies, after our
hashes replace the recorded ones and times are masked. ``SHAPE``: equal keys and JSON types (a key may be
null).
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain import clarity
from chain.clarity import Buffer, PrincipalValue, StringAscii, UInt
from chain.testing import ScriptedApi, ScriptedChain, Tx, events, principal, txs
from chain.testing.txs import SBTC, SBTC_CONTRACT

DATA = Path(__file__).parents[2] / "data" / "stacks-api"

MERCHANT = "SP631QCCSY4ZBC8PM6YN160YPSB2QBTSSW2RYEW0"
ROUTER_OWNER = "SPHYWG7A71XKQEQZP99Y1YQHM5V83PPJF5XF6NFM"
ROUTER = f"{ROUTER_OWNER}.pay-router"
SPQ = "SPQ48JMDGBQ8J9WZBM8N6760MA7F1ZD5KM46FFG8"
SPG = "SPG8142DS5TZHD9HV8PGGPV2KZQ1C75Q65PQGQHQ"
SP2Z = "SP2ZBAMA9335J8SH2A9R17F03SRNY7KN7KWJXF0FM"
SP1X = "SP1XPWH7439Y08V11J0N17CYS8XX31GQE6DHYT2ZB"
SP35 = "SP35S4CGXNSFKSVD0KC25HDFJ4B2VE03XAG62Z3X3"
SP3D = "SP3DB9W1CZPM2XARZ6MEV5ES93K5DRRF416QGT0KQ"
BULK = "SP13AHTNV82G7FAKT89VMRXWZC3369084SRSGAG29"


def sbtc(sender: str, amount: int, memo: bytes, nonce: int, **extra: Any) -> Tx:
    return txs.sbtc_transfer(sender, MERCHANT, amount, memo=memo, nonce=nonce, **extra)


INVOICE = clarity.Tuple.of(
    {
        "amount": UInt(70_000),
        "event": StringAscii("payment"),
        "invoice": Buffer(b"INV-1003"),
        "payee": PrincipalValue.parse(MERCHANT),
        "payer": PrincipalValue.parse(SPG),
        "token": PrincipalValue.parse(SBTC_CONTRACT),
    }
)
PAID = sbtc(SPQ, 50_000, b"INV-1001", 0)
STX = txs.stx_transfer(SP2Z, MERCHANT, 2_500_000, b"INV-1002", nonce=0)
ROUTED = txs.call(
    ROUTER,
    "pay-invoice",
    SPG,
    [Buffer(b"INV-1003"), UInt(70_000)],
    [
        events.ft_transfer(SBTC, SPG, MERCHANT, 69_300),
        events.ft_transfer(SBTC, SPG, ROUTER_OWNER, 700),
        events.stx_transfer(SPG, MERCHANT, 1_000, b"INV-1003"),
        events.contract_print(ROUTER, INVOICE),
    ],
    nonce=0,
)
ABORTED = sbtc(SP1X, 99_999, b"INV-1004", 0, status="abort_by_response")
POST_CONDITION = sbtc(SP35, 88_888, b"INV-1005", 0, status="abort_by_post_condition")
SKIPPED = sbtc(SP3D, 77_777, b"INV-1006", 0, status="problematic_skipped")
FAKE = txs.fake_token(
    SP2Z, MERCHANT, 123, b"INV-1001", deployer="SP3Y2ZSH8P7D50B0VBTSX11S7XSG24M1VB9YFQA4K", nonce=1
)
STALE = sbtc(SPG, 11_111, b"INV-1007", 1)
EXPENSIVE = txs.stx_transfer(SPG, MERCHANT, 5, b"INV-1008", nonce=2)
CHEAP = sbtc(SP1X, 22_222, b"INV-1009", 1, fee=300)
DEARER = sbtc(SP1X, 22_222, b"INV-1009", 1, fee=3000)
ORPHANED = sbtc(SP35, 33_333, b"INV-1010", 1)
OTHERWISE = sbtc(SP3D, 44_444, b"INV-1011", 1)
UNSEEN = sbtc(SP3D, 55_555, b"INV-1012", 2)
MANY = txs.call(
    SBTC_CONTRACT,
    "transfer-many",
    SPG,
    events=[events.ft_transfer(SBTC, SPG, BULK, n + 1) for n in range(130)],
    nonce=1,
)
BULKS = [txs.sbtc_transfer(SP2Z, BULK, n + 1, memo=b"bulk-%03d" % n, nonce=3 + n) for n in range(120)]

#: What the real server called our transactions.
TXS = {
    "bf1408050ae7c356d7135b722de6d815c20ad06cc876a0f7778d01995e213232": PAID,
    "6ba3576c97159b20faf644dd7960ea4f5b56c687de82bde9cd3c3d2df06222b0": STX,
    "6961a27aa8deeaf2aa71f9e88860a49fb72296f4772fadb458edbbd02dd68708": ROUTED,
    "9a35e49a18e705b217df277ba97a833605470304b9e713394fbf85b0bb430fb2": ABORTED,
    "3a17c4ccd55d928d69e86e6b7ca23ec1a5fed2d541fdd29cf637bc33524f6f54": POST_CONDITION,
    "d96b1ec0d859dfcc24fa7b5e821b7478d457618f47b6524998a4d7ed8dacd4d7": SKIPPED,
    "ebb32b028d581289d58c065fcaec945d2d410582e90c6cfd2c6442dcc7d467f8": FAKE,
    "2d4bf63264b7b7bf87ef1c4cd075e79d96edd9e23c50dd21fbb99a556478197c": STALE,
    "bb3a57046b4475805d714042da8f4e61da4480115ba4e90216af80bb84b9b453": EXPENSIVE,
    "080dfdfb0e26889bb46c554fd42774c1ebb871881b14a15557cae3a2eb5ba436": CHEAP,
    "c01e14b2002fe3b47afb753a4078d68923f2fdb533d68cd5f2d257376041484a": DEARER,
    "c50d943bad9be62c1d867511ebb38a43eaa69475ac210b90b24b15019035d402": ORPHANED,
    "2843f361e56c2caa286fc36a1f2af9e898aa3e7a29b3eea532839fa4eb4daa0e": OTHERWISE,
    "10342b64b780b913198a61b7015d4384f7c9cb403e38fb7c703fd35fca47a539": UNSEEN,
    "b7519e1638a4cb53ddbfc1f1f0ca91b74a5aaefd6edd7127210490b782c5a8ce": MANY,
}
#: Block hashes of recordings, by the stage and height of our block.
BLOCKS = {
    "0xfaba2f6924ce3ecf333e3be2024d251f56547d861c26e1315317467de88b5d49": ("first", 1),
    "0x4fb66ca3c780c44b1b06e8a38cef7419fa33106452fa37add45b76fc0973d609": ("paid", 4),
    "0xe9312d7b408d54ffe83f14d541f286f09c8b942a329abeb465f49d1a69bea5b9": ("before fork", 5),
    "0xdd1d0d45e7ec07272533f294cbb70079c986e0141d9fa28b400cca5637d306da": ("forked", 5),
    "0x66e29f07e82854bba16eecb2f63f7126944fb28b607ff77d190589e7d2e6cc50": ("forked", 6),
    "0x6f91c1466b2f3a132cd4b123754e15e95cc759eea85b3a9e7351ae897f7ad9cd": ("big block", 18),
}
BLOCK_HASHES = {
    "0x66279c01925f91aefe71fb5abb0b1ad36fcb0deeaaf46c7c1809af22346c6371": ("before fork", 5),
}


@cache
def story() -> dict[str, ScriptedChain]:
    """The recorded story, as a copy of the chain at each stage."""
    stages: dict[str, ScriptedChain] = {}
    chain = ScriptedChain(height=1, burn_height=870_001, time=1_795_112_784)
    stages["first"] = chain.clone()
    chain.mine([txs.call(f"{SP2Z}.setup", "go", principal("miner"), nonce=2)], seconds=6)
    chain.mine([txs.deploy(ROUTER, nonce=0)], seconds=6)
    chain.add_pending(PAID)
    chain.add_pending(STX)
    stages["pending"] = chain.clone()
    chain.mine([PAID, STX, ROUTED, ABORTED, POST_CONDITION, SKIPPED, FAKE], burn=True, seconds=6)
    stages["paid"] = chain.clone()
    for tx in (STALE, EXPENSIVE, CHEAP, DEARER):
        chain.add_pending(tx)
    stages["replaced"] = chain.clone()
    chain.drop_pending(STALE.tx_id)
    chain.drop_pending(EXPENSIVE.tx_id, "too_expensive")
    stages["dropped"] = chain.clone()
    chain.add_pending(ORPHANED)
    chain.mine([ORPHANED, OTHERWISE, DEARER])
    stages["before fork"] = chain.clone()
    branch = chain.fork(4)
    branch.mine([OTHERWISE.failed()])
    stages["sibling"] = chain.clone()
    branch.mine([txs.stx_transfer(SP2Z, MERCHANT, 7, b"after-fork", nonce=2)])
    stages["forked"] = chain.clone()
    chain.mine([UNSEEN])
    chain.fork(6).mine(n=2)
    stages["only in orphan"] = chain.clone()
    chain.mine([ORPHANED, UNSEEN], burn=True)
    stages["remined"] = chain.clone()
    chain.mine(n=8)
    stages["late"] = chain.clone()
    chain.mine([*BULKS, MANY])
    stages["big block"] = chain.clone()
    chain.fork(17).mine([txs.stx_transfer(SP35, BULK, 1, b"x", nonce=2)], n=2)
    stages["after big block"] = chain.clone()
    return stages


EXACT = {
    "first": ["status-v9", "err-proxy-no-node"],
    "pending": [
        *("v3-tx-pending-sbtc", "v3-tx-pending-stx", "v1-tx-pending-sbtc", "v3-tx-events-of-pending"),
    ],
    "paid": [
        *("v2-blocks", "v2-block-by-height", "v2-block-by-index-hash", "v2-block-latest"),
        *("v2-burn-block-blocks", "v3-transactions", "v3-block-transactions"),
        *("v3-block-transactions-page1", "v3-block-transactions-page2"),
        *("etag-block-tx-200", "etag-block-tx-304"),
        *("v3-tx-success-sbtc", "v3-tx-success-stx", "v3-tx-router-call", "v3-tx-abort-by-response"),
        *("v3-tx-abort-by-post-condition", "v3-tx-problematic-skipped"),
        *("v3-tx-events-success-sbtc", "v3-tx-events-success-stx", "v3-tx-events-router-call"),
        *("v3-tx-events-abort-by-response", "v3-tx-events-abort-by-post-condition"),
        *("v3-tx-events-problematic-skipped", "v1-tx-multiple", "v1-tx-router-call"),
        *("v2-contract-logs-router", "v2-contract-logs-sbtc"),
        *("err-block-404-v2", "err-block-404-v3", "err-cursor", "err-limit", "err-offset-max"),
        *("err-route", "err-tx-404", "err-tx-no0x", "v3-transactions-limit-0"),
    ],
    "replaced": ["v1-tx-rbf-old-before-drop", "v3-tx-rbf-old-before-drop"],
    "dropped": [
        *("v1-tx-dropped-rbf", "v1-tx-dropped-stale", "v1-tx-dropped-too-expensive"),
        *("v3-tx-dropped-rbf", "v3-tx-dropped-stale", "v3-tx-dropped-too-expensive"),
        *("v1-tx-multiple-dropped", "v3-tx-rbf-new"),
    ],
    "before fork": ["reorg-0-block-before", "reorg-0-tx-before"],
    "sibling": ["reorg-1-sibling-by-hash", "reorg-1-sibling-by-height", "reorg-1-sibling-txs"],
    "forked": [
        *("reorg-2-status", "reorg-2-blocks-list", "reorg-2-block-by-height", "reorg-2-blocks-cursor-orphan"),
        *("reorg-2-burn-block-blocks", "reorg-2-contract-logs-sbtc", "reorg-2-orphan-by-index-hash"),
        *("reorg-2-orphan-by-block-hash", "reorg-2-orphan-txs", "reorg-2-tx-was-in-mempool-v1"),
        *("reorg-2-tx-was-in-mempool-v3", "reorg-2-tx-was-in-mempool-events"),
        *("reorg-2-tx-never-in-mempool-v3", "reorg-2-tx-other-outcome-v3", "reorg-2-tx-multiple"),
    ],
    "only in orphan": [
        "reorg-3-only-in-orphan-v1",
        "reorg-3-only-in-orphan-v3",
        "reorg-3-only-in-orphan-multiple",
    ],
    "remined": ["reorg-4-remined"],
    "late": ["v2-blocks-offset-neg"],
    "big block": [
        *("big-block-page", "reorg-page-by-height-1", "events-page1", "events-page2", "tx-multiple-no0x"),
        *("tx-multiple-default-limit", "tx-multiple-many-events", "tx-multiple-many-events-offset"),
    ],
    "after big block": ["reorg-page-by-hash-2"],
}
SHAPE = {
    # Entries of one second are listed by transaction id, which differ.
    "pending": ["v3-mempool-transactions"],
    "late": ["reorg-5-before-deep", "etag-status"],
    "big block": ["logs-page1", "logs-page2"],
    "after big block": [
        *("reorg-5-after-deep", "reorg-page-by-height-2", "v3-transactions-limit-50"),
        *("v3-transactions-cursor-above-tip", "v3-transactions-cursor-at-height"),
    ],
}


def cases(table: dict[str, list[str]]) -> list[Any]:
    return [pytest.param(stage, name, id=name) for stage, names in table.items() for name in names]


@pytest.mark.parametrize(("stage", "name"), cases(EXACT))
async def test_the_answer_equals_the_recorded_one(stage: str, name: str) -> None:
    recorded, answer = await replay(stage, name)
    theirs = json.loads(to_ours(json.dumps(recorded["body"])))
    ours = json.loads(answer.content) if answer.content else None
    assert masked(ours) == masked(theirs)
    check_head(recorded, answer)


@pytest.mark.parametrize(("stage", "name"), cases(SHAPE))
async def test_the_answer_has_the_recorded_keys_and_types(stage: str, name: str) -> None:
    recorded, answer = await replay(stage, name)
    assert_same_shape(answer.json(), recorded["body"], name)
    check_head(recorded, answer)


async def replay(stage: str, name: str) -> tuple[dict[str, Any], httpx.Response]:
    recorded = json.loads((DATA / f"{name}.json").read_text())
    request = recorded["request"]
    async with ScriptedApi(story()[stage]) as api, httpx.AsyncClient(base_url=api.url) as client:
        headers = {key: to_ours(value) for key, value in request["headers"].items()}
        return recorded, await client.request(request["method"], to_ours(request["path"]), headers=headers)


def check_head(recorded: dict[str, Any], answer: httpx.Response) -> None:
    """Same status and recorded headers; ETags equal as far as they name blocks."""
    assert answer.status_code == recorded["status"]
    expected = recorded["response_headers"]
    for name in ("cache-control", "warning", "x-api-version", "content-type"):
        assert answer.headers.get(name) == expected.get(name), name
    etag = to_ours(expected["etag"]) if "etag" in expected else None
    if etag is not None and etag.startswith('"0x'):
        assert masked(answer.headers["etag"]) == masked(etag)
    else:
        assert ("etag" in answer.headers) == (etag is not None)


@cache
def names() -> dict[str, str]:
    """Recorded hash -> ours."""
    known = {recorded: tx.tx_id.removeprefix("0x") for recorded, tx in TXS.items()}
    for recorded, index in (
        ("2c95ad1423e3a05e5b4443bd9f7536d7d78233de43b7d62339ca9a1d74dff96a", 0),
        ("f70de518dc7be177eb4389dd91d581248ca1a1303cfc8081815a5c0ad206654c", 1),
    ):
        known[recorded] = story()["paid"].block(4).txs[index].tx_id.removeprefix("0x")
    for recorded, (stage, height) in BLOCKS.items():
        known[recorded] = story()[stage].header(height).hash
    for recorded, (stage, height) in BLOCK_HASHES.items():
        known[recorded] = story()[stage].header(height).block_hash
    return known


def to_ours(text: str) -> str:
    for recorded, ours in names().items():
        text = text.replace(recorded, ours)
    return text


def masked(value: Any, key: str = "") -> Any:
    """Hide what cannot be equal: times, hashes that the story does not name, what a miner signs."""
    if isinstance(value, dict):
        if value.get("type", value.get("tx_type")) in ("coinbase", "tenure_change"):
            hidden = {k: "a miner's" for k in ("sender", "sender_address", "nonce") if k in value}
            value = {**value, **hidden}
        return {masked(k): masked(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith("time"):
        return "a time"
    if isinstance(value, str):
        if key in ("vrf_proof", "data", "pubkey_hash", "source_code") or key.endswith("consensus_hash"):
            return f"a {key}"
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", value):
            return "a date"
        value = re.sub(r"^\d{10}:", "a time:", value)
        ours = set(names().values()) | {name.removeprefix("0x") for name in names().values()}
        return re.sub(
            r"\b(?:0x)?[0-9a-f]{64}\b", lambda m: m[0] if m[0].removeprefix("0x") in ours else "a hash", value
        )
    return value


def assert_same_shape(ours: Any, theirs: Any, where: str) -> None:
    if ours is None or theirs is None:
        return
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same_shape(ours[key], theirs[key], f"{where}.{key}")
    if isinstance(ours, list):
        assert bool(ours) == bool(theirs), where
        kinds = {kind(item): item for item in theirs}
        for item in ours:
            if kind(item) in kinds:
                assert_same_shape(item, kinds[kind(item)], f"{where}[]")


def kind(item: Any) -> Any:
    return item.get("type", item.get("event_type")) if isinstance(item, dict) else None


def test_every_recording_of_a_served_route_is_replayed() -> None:
    """Recordings left out: routes that are not served, and the deprecated switch, which has its own test."""
    served = re.compile(
        r"/extended(/v2/blocks(/[^/]+)?|/v2/burn-blocks/[^/]+/blocks|/v3/transactions(/[^/]+(/events)?)?"
        r"|/v3/blocks/[^/]+/transactions|/v1/tx/multiple|/v1/tx/0x[^/]+|/v3/mempool/transactions"
        r"|/v2/smart-contracts/[^/]+/logs)?(\?.*)?|/v2/info"
    )
    listed = {name for table in (EXACT, SHAPE) for entry in table.values() for name in entry}
    paths = {path.stem: json.loads(path.read_text()) for path in DATA.glob("*.json")}
    expected = {
        name
        for name, recorded in paths.items()
        if "request" in recorded and served.fullmatch(recorded["request"]["path"])
    }
    assert expected - listed == {"deprecated-off-410"}


async def test_deprecated_routes_can_be_switched_off() -> None:
    recorded = json.loads((DATA / "deprecated-off-410.json").read_text())
    async with ScriptedApi(story()["paid"]) as api, httpx.AsyncClient(base_url=api.url) as client:
        api.deprecated_routes = False
        answer = await client.get(recorded["request"]["path"])
    assert (answer.status_code, answer.json()) == (410, recorded["body"])
    assert answer.headers["warning"] == recorded["response_headers"]["warning"]
