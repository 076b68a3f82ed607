"""``verify``: what an event claims, against honest, lying, lagging and broken APIs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from chain.testing import VERSIONS, ScriptedApi, principal, txs
from tests import harness
from tests.integration.watcher.cli.verify_fixture import VerifyFixture, tampering
from tests.integration.watcher.ledger_fixture import PAYER, SHOP

Json = Any


@pytest.fixture
async def fixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[VerifyFixture]:
    async with AsyncExitStack() as stack:
        made = VerifyFixture(tmp_path, stack, capsys)
        yield made
        made.ledger.database.close()


@pytest.fixture
async def api(fixture: VerifyFixture) -> ScriptedApi:
    return await fixture.serve()


async def test_a_payment_is_confirmed_in_one_line(fixture: VerifyFixture, api: ScriptedApi) -> None:
    event = fixture.event(fixture.paid())
    paid_in = fixture.chain.tip
    fixture.chain.mine(n=2, burn=True)
    answer = await fixture.verify(event, api)
    where = api.url.removeprefix("http://")
    assert answer.out == (
        f"confirmed by {where}: 50,000 sats to {SHOP} in block {paid_in.height} ({paid_in.hash[:10]}…), "
        "2 Bitcoin blocks deep (network not verified)\n"
    )
    assert answer.err == ""


CHANGES: dict[str, tuple[Any, str]] = {
    "amount": (lambda transfer, intent: transfer.update(amount="50001"), "the amount is 50000, not 50001"),
    "sender": (lambda transfer, intent: transfer.update(sender=SHOP), f"the sender is {PAYER}, not {SHOP}"),
    "mint": (lambda transfer, intent: transfer.update(sender=None), f"the sender is {PAYER}, not None"),
    "recipient": (
        lambda transfer, intent: intent.update(recipient=PAYER),
        f"the recipient is {SHOP}, not {PAYER}",
    ),
    "event": (lambda transfer, intent: transfer.update(event_index=7), "has no such transfer"),
    "transaction": (lambda transfer, intent: transfer.update(tx_id="0x" + "ab" * 32), "has no such transfer"),
    "block": (lambda transfer, intent: transfer.update(block_hash="0x" + "ab" * 32), "not 0xabab"),
    "height": (
        lambda transfer, intent: transfer.update(block_height=transfer["block_height"] - 1),
        "the height of its block is",
    ),
    "bitcoin height": (
        lambda transfer, intent: transfer.update(burn_block_height=1),
        "the Bitcoin height of its block is",
    ),
    "time": (
        lambda transfer, intent: transfer.update(block_time="2026-01-01T00:00:00.000Z"),
        "the time of its block is",
    ),
    "asset": (
        lambda transfer, intent: intent.update(asset="stx", asset_identifier="STX"),
        f"the asset is {harness.SBTC}, not STX",
    ),
    "false name": (
        lambda transfer, intent: intent.update(asset_identifier=f"{PAYER}.sbtc-token::sbtc-token"),
        f"sbtc is {harness.SBTC}, not {PAYER}.sbtc-token::sbtc-token",
    ),
    "label": (
        lambda transfer, intent: intent.update(reference="ANOTHER", terms_hash="0x" + "ab" * 32),
        "it does not name the intent",
    ),
    "payer": (lambda transfer, intent: intent.update(payer=SHOP), f"the payer is {PAYER}, not {SHOP}"),
    "sum": (
        lambda transfer, intent: intent.update(amount="50001"),
        "the transfers make 50,000 of 50,001 base units",
    ),
    "none": (
        lambda transfer, intent: intent.update(transfers=[], transfers_total=0),
        "the transfers make 0 of 50,000 base units",
    ),
    "depth": (
        lambda transfer, intent: intent["confirmations"].update(required={"stacks": 1, "bitcoin": 6}),
        "the payment is 1 Stacks and 0 Bitcoin blocks deep, not 1 and 6",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_event_that_says_something_else_is_contradicted(
    fixture: VerifyFixture, api: ScriptedApi, change: str
) -> None:
    """Each field that the chain knows is compared; one line says which, exit 1."""
    event = fixture.event(fixture.paid())
    intent = event["data"]["payment_intent"]
    alter, told = CHANGES[change]
    alter(intent["transfers"][0], intent)
    answer = await fixture.verify(event, api, code=1)
    assert answer.out.startswith("contradicted by 127.0.0.1:")
    assert told in answer.out
    assert answer.out.count("\n") == 1


async def test_an_api_that_denies_the_payment_contradicts_it_beside_one_that_confirms(
    fixture: VerifyFixture, api: ScriptedApi
) -> None:
    """Each API has its line, in the order given; the worst verdict is the exit code."""

    def smaller(answer: Json) -> None:
        for one in answer.values():
            for found in one["result"].get("events", []):
                if "amount" in found.get("asset", {}):
                    found["asset"]["amount"] = "1"

    liar, down = await fixture.serve(), await fixture.serve()
    event = fixture.event(fixture.paid())
    liar.faults.tamper = tampering(tx_multiple=smaller)
    down.faults.fail(503, times=None)
    answer = await fixture.verify(event, api, liar, down, code=1)
    assert [line.split(" 127.0.0.1:")[0] for line in answer.out.splitlines()] == [
        "confirmed by",
        "contradicted by",
        "not confirmed by",
    ]
    assert "the amount is 1, not 50000" in answer.out
    assert "503" in answer.out
    assert (await fixture.verify(event, api, down, code=3)).out.startswith("confirmed by")


async def test_an_api_that_lags_can_not_tell(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """A block that it does not have yet is no contradiction, nor is a tip that is not deep enough yet."""
    event = fixture.event(fixture.paid())
    api.lag(1)
    answer = await fixture.verify(event, api, code=3)
    assert "it has no block 101 yet, its tip is 100" in answer.out
    intent = fixture.ledger.create(level="anchored")
    fixture.ledger.mine(fixture.transfer(intent), burn=True)
    fixture.ledger.mine(burn=True, n=2)
    event = fixture.event(intent)
    assert event["type"] == "payment.succeeded"
    answer = await fixture.verify(event, api, code=3)
    assert "it lags: its tip is 103, the event's was 104" in answer.out
    api.lag(0)
    assert "2 Bitcoin blocks deep" in (await fixture.verify(event, api)).out


async def test_a_payment_that_a_reorg_took_is_contradicted(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """The event was right when it was sent; what the chain says now counts."""
    event = fixture.event(fixture.paid())
    old = fixture.chain.tip
    fixture.chain.reorg(1, [[], []])
    answer = await fixture.verify(event, api, code=1)
    assert f"block {old.height} is " in answer.out
    assert f"not {old.hash}" in answer.out


async def test_what_a_reorg_took_is_looked_up(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """An API that still shows it, as on another branch, contradicts the event."""
    intent = fixture.paid()
    other = await fixture.serve(fixture.chain.clone())
    fixture.ledger.fork(1, [[], []])
    event = fixture.event(intent)
    assert (event["type"], event["data"]["reason"]) == ("payment.attention", "reorged")
    answer = await fixture.verify(event, api)
    assert ": 1 orphaned transfer not in its chain (" in answer.out
    assert "has an orphaned transfer (transaction 0x" in (await fixture.verify(event, other, code=1)).out
    assert len((await fixture.verify(event, api, more=("--json",))).json["orphaned"]) == 1


@pytest.mark.parametrize("fault", ["html", "truncate", "cut", "disconnect", "gzip_bomb", "rate_limit"])
async def test_an_api_without_a_usable_answer_is_one_line(
    fixture: VerifyFixture, api: ScriptedApi, fault: str
) -> None:
    """Whatever a server does, the command ends with exit 3 and says why."""
    event = fixture.event(fixture.paid())
    getattr(api.faults, fault)(times=None)
    answer = await fixture.verify(event, api, code=3)
    assert answer.out.startswith("not confirmed by 127.0.0.1:")
    assert answer.out.count("\n") == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_of_the_api_can_be_asked(fixture: VerifyFixture, version: str) -> None:
    """Also those whose deprecated routes are gone, and of transactions with several transfers."""
    api = await fixture.serve()
    api.become(version)
    intent = fixture.ledger.create()
    fixture.ledger.mine(
        txs.token_transfer_many(
            PAYER, [(principal("other"), 9, b"X"), (SHOP, 50_000, fixture.ledger.memo(intent))]
        )
    )
    event = fixture.event(intent)
    answer = await fixture.verify(event, api)
    assert answer.out.startswith("confirmed by")
    assert answer.err == ""
    event["data"]["payment_intent"]["transfers"][0]["event_index"] = 0
    assert "the amount is 9, not 50000" in (await fixture.verify(event, api, code=1)).out


async def test_an_old_api_is_told_so(fixture: VerifyFixture) -> None:
    """Its routes differ: nothing is concluded from them."""
    old = await fixture.serve(version="8.13.0")
    answer = await fixture.verify(fixture.event(fixture.paid()), old, code=3)
    assert ": runs stacks-blockchain-api v8.13.0 (main:759c4a586), but 9.0 or newer is needed\n" in answer.out


async def test_an_api_of_another_network_is_wrong_input(fixture: VerifyFixture) -> None:
    """Testnet money is no money: one line, exit 2, even if another API confirms."""
    other = await fixture.serve(network_id=0x80000000)
    same = await fixture.serve(network_id=1)
    event = fixture.event(fixture.paid())
    answer = await fixture.verify(event, same, other, code=2)
    assert answer.out == ""
    assert "serves testnet, but the event is of mainnet" in answer.err
    assert "not verified" not in (await fixture.verify(event, same)).out


async def test_requests_and_time_are_bounded(
    fixture: VerifyFixture, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server can keep the command neither busy nor waiting."""
    event = fixture.event(fixture.paid())
    await fixture.verify(event, api)
    assert len(api.requests) == 6
    monkeypatch.setattr("watcher.cli.event_lookup.MAX_REQUESTS", 5)
    assert "more than 5 requests" in (await fixture.verify(event, api, code=3)).out
    monkeypatch.setattr("watcher.cli.event_lookup.MAX_SECONDS", 0.1)
    api.faults.slow(20)
    assert "no complete answer within" in (await fixture.verify(event, api, code=3)).out


async def test_payments_of_every_route_are_confirmed(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """The contract's print, an STX memo, and a dedicated recipient's plain transfer and peg-in."""
    ledger, own = fixture.ledger, principal("own")
    by_contract, stx = ledger.create(), ledger.create(asset="stx")
    dedicated = [ledger.create(recipient=principal(name), match="recipient") for name in ("own", "pegged")]
    ledger.mine(
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, **terms(fixture, by_contract)),
        txs.stx_transfer(PAYER, SHOP, 50_000, ledger.memo(stx)),
        txs.sbtc_transfer(PAYER, own, 50_000),
        txs.peg_in(principal("pegged"), 50_000),
    )
    for intent in (by_contract, stx, *dedicated):
        event = fixture.event(intent)
        assert event["type"] == "payment.succeeded"
        answer = await fixture.verify(event, api)
        assert ("0.05 stx" if intent == stx else "50,000 sats") in answer.out


async def test_several_transfers_are_summed(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """Of a success those that cover it count; what came later is left out."""
    intent = fixture.paid(20_000)
    fixture.ledger.mine(fixture.transfer(intent, 30_001))
    fixture.ledger.mine(fixture.transfer(intent, 7))
    event = fixture.event(intent)
    assert (event["type"], event["data"]["reason"]) == ("payment.attention", "surplus")
    answer = await fixture.verify(event, api)
    assert f"50,001 sats to {SHOP} in 2 blocks, 101 to 102, 0 Bitcoin blocks deep" in answer.out


async def test_what_an_operator_assigned_is_said(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """The money is there, but nothing on the chain names the intent."""
    intent = fixture.ledger.create()
    fixture.ledger.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo"))
    fixture.ledger.assign(fixture.ledger.transfers()[0]["id"], intent)
    answer = await fixture.verify(fixture.event(intent), api)
    assert "an operator assigned it" in answer.out


async def test_a_refund_is_looked_up_with_its_payment(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """The payment contract's print labels the transfer back to the payer."""
    ledger = fixture.ledger
    intent = fixture.paid()
    back = txs.contract_refund(
        harness.PAYMENT_CONTRACT, SHOP, PAYER, 500, intent_id=ledger.terms_hash(intent)
    )
    ledger.mine(back)
    event = fixture.event(intent)
    assert event["type"] == "payment.refunded"
    assert "; 500 sats refunded (" in (await fixture.verify(event, api)).out
    [refund] = (await fixture.verify(event, api, more=("--json",))).json["refunds"]
    assert refund == {"tx_id": back.tx_id, "event_index": refund["event_index"], "amount": "500"}
    event["data"]["payment_intent"]["refunds"][0]["recipient"] = SHOP
    answer = await fixture.verify(event, api, code=1)
    assert f"the recipient is {PAYER}, not {SHOP}" in answer.out
    event["data"]["payment_intent"]["transfers"] = []
    event["data"]["payment_intent"].update(status="pending", transfers_total=0)
    event["data"]["payment_intent"]["refunds"][0]["recipient"] = PAYER
    answer = await fixture.verify(event, api)
    assert ": 500 sats refunded (" in answer.out


async def test_a_success_by_hand_is_not_confirmed(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """The chain does not show what a person says."""
    intent = fixture.ledger.create()
    fixture.ledger.mark(intent, "succeeded")
    answer = await fixture.verify(fixture.event(intent), api, code=1)
    assert "the transfers make 0 of 50,000 base units; a person marked it as succeeded by hand" in answer.out


async def test_an_event_without_money_needs_no_look_up(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """An expired intent claims nothing of the chain."""
    intent = fixture.ledger.create()
    fixture.ledger.pass_time(100_000)
    event = fixture.event(intent)
    assert event["type"] == "payment.expired"
    answer = await fixture.verify(event, api)
    assert answer.out == "nothing to look up: this payment.expired lists no transfer\n"
    assert (await fixture.verify(event, api, more=("--json",))).json["verdict"] is None
    assert api.requests == []


async def test_json_gives_one_document(fixture: VerifyFixture, api: ScriptedApi) -> None:
    """With every reason, and the transfers as the API shows them."""
    event = fixture.event(fixture.paid())
    down = await fixture.serve()
    down.faults.fail(503, times=None)
    found = (await fixture.verify(event, api, down, code=3, more=("--json",))).json
    tip = fixture.chain.tip
    assert {key: found[key] for key in ("event", "type", "network", "verdict", "recipient", "amount")} == {
        "event": event["id"],
        "type": "payment.succeeded",
        "network": "mainnet",
        "verdict": "unknown",
        "recipient": SHOP,
        "amount": "50000",
    }
    good, bad = found["sources"]
    assert good == {
        "url": api.url,
        "verdict": "confirmed",
        "reasons": [],
        "note": "network not verified",
        "amount": "50000",
        "confirmations": {"stacks": 1, "bitcoin": 0},
        "transfers": [
            {
                "tx_id": event["data"]["payment_intent"]["transfers"][0]["tx_id"],
                "event_index": 0,
                "amount": "50000",
                "assigned": False,
                "block_height": tip.height,
                "block_hash": tip.hash,
                "burn_block_height": tip.burn_height,
            }
        ],
    }
    assert (bad["verdict"], bad["confirmations"], bad["transfers"]) == ("unknown", None, [])


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "text": (b"payment.succeeded", "is not JSON"),
    "latin": (b'"\xff"', "is not UTF-8"),
    "a list": (b"[]", "is no event"),
    "another object": (b'{"object": "payment_intent"}', "is no event"),
    "a type that is none": (b'{"type": ["payment.succeeded"], "data": {}}', "is no event"),
    "control characters": (b'{"type": "\\u001b[2J\\u202e", "data": {}}', r"'\x1b[2J\u202e'"),
    "a test": (b'{"type": "webhook.test", "data": {}}', "is about no payment"),
    "emptied": (b'{"type": "payment.succeeded", "data": null}', "emptied"),
    "no data": (b'{"type": "payment.succeeded", "data": {}}', "data.payment_intent: Field required"),
    "deep": (b'{"type":' + b"[" * 100_000, "nested deeper"),
    "huge": (b'{"type": "payment.succeeded", "data": ' + b"9" * 200_000 + b"}", "more than 100 digits"),
    "twice": (b'{"type": "payment.failed", "type": "payment.succeeded"}', "names 'type' twice"),
    "large": (b" " * (256 * 1024 + 1), "has more than 262,144 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_no_event_is_one_line(fixture: VerifyFixture, api: ScriptedApi, name: str) -> None:
    """Exit 2, what is wrong, nothing that controls the terminal, and no request."""
    content, told = HOSTILE[name]
    answer = await fixture.verify(content, api, code=2)
    assert answer.out == ""
    assert told in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.strip().isprintable()
    assert api.requests == []


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://x?y", "http://x:port", ""])
async def test_what_is_no_url_is_told_so(fixture: VerifyFixture, url: str) -> None:
    """Before anything is asked."""
    event = fixture.event(fixture.paid())
    answer = await fixture.verify(event, code=2, more=("--api", url))
    assert "--api: " in answer.err


def terms(fixture: VerifyFixture, intent: str) -> Json:
    """Return the salt and lifetime that the intent's contract call names."""
    call = {one["name"]: one for one in fixture.ledger.show(intent)["pay"]["contract"]["arguments"]}
    return {
        "salt": bytes.fromhex(call["salt"]["value"][2:]),
        "expires_at": int(call["expires-at"]["value"]),
    }
