"""Contract payments and refunds from the Clarity VM through the real daemon to a shop's webhooks.

The VM executes the contract calls that the intents show; its events and results are put on the scripted chain
unchanged. Without node the tests are skipped, unless REQUIRE_NODE is set.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from chain.clarity import Buffer, Ok, PrincipalValue, Some, UInt, Value, encode
from chain.model import TxStatus
from chain.testing import Tx, principal, txs
from chain.testing import events as ev
from tests import harness
from tests.deployment import Deployment
from tests.integration.contracts.vm import SBTC, Answer, Vm, hexed_value, running

PAYER, STRANGER = principal("vm payer"), principal("vm stranger")
EVERY = (
    "payment.created,payment.processing,payment.succeeded,payment.failed,payment.attention,payment.refunded"
)
STX_AMOUNT = 2_000_000


@pytest.fixture(scope="module")
def vm() -> Iterator[Vm]:
    """The VM with the deployed contract and funded accounts."""
    for made in running():
        deployer, _, _ = harness.PAYMENT_CONTRACT.partition(".")
        assert made.deploy(deployer) == harness.PAYMENT_CONTRACT
        for person in (PAYER, STRANGER, harness.SHOP):
            made.mint(SBTC, person, 1_000_000)
            made.mint(None, person, 100_000_000)
        yield made


def execute(vm: Vm, contract: str, function: str, args: list[str], sender: str) -> tuple[Answer, Tx]:
    """Run a call in the VM; return its answer, and the transaction that a node would have mined."""
    answer = vm.call(contract, function, *args, sender=sender)
    succeeded = isinstance(answer.result, Ok)
    tx = txs.call(
        contract,
        function,
        sender,
        [bytes.fromhex(arg.removeprefix("0x")) for arg in args],
        [scripted(event["event"], event["data"]) for event in answer.events],
        result=encode(answer.result),
        status=TxStatus.SUCCESS if succeeded else TxStatus.ABORT_BY_RESPONSE,
        label=f"block {answer.height}",
    )
    return answer, tx


def scripted(kind: str, data: dict[str, Any]) -> ev.Event:
    """Convert an event of the VM to one of the scripted chain, which serves it as the API does."""
    match kind:
        case "ft_transfer_event":
            return ev.ft_transfer(
                data["asset_identifier"], data["sender"], data["recipient"], int(data["amount"])
            )
        case "stx_transfer_event":
            memo = bytes.fromhex(data["memo"])
            return ev.stx_transfer(data["sender"], data["recipient"], int(data["amount"]), memo)
        case "print_event":
            return ev.contract_print(
                data["contract_identifier"], bytes.fromhex(data["raw_value"].removeprefix("0x"))
            )
        case _:
            raise ValueError(f"no call of these tests makes a {kind}")


def typed(argument: dict[str, str]) -> Value:
    """Return an argument's Clarity value, built from type and text as a wallet does."""
    match argument["type"], argument["value"]:
        case "principal", text:
            return PrincipalValue.parse(text)
        case "uint", text:
            return UInt(int(text))
        case "buffer", text:
            return Buffer(bytes.fromhex(text.removeprefix("0x")))
        case kind, _:
            raise ValueError(f"no wallet knows {kind}")


def pay(vm: Vm, intent: dict[str, Any], payer: str = PAYER) -> tuple[Answer, Tx]:
    """Pay as the intent says; the typed arguments and their hex must be the same."""
    call = intent["pay"]["contract"]
    args = [hexed_value(typed(argument)) for argument in call["arguments"]]
    assert args == [argument["hex"] for argument in call["arguments"]]
    return execute(vm, call["contract_id"], call["function"], args, payer)


def refund(vm: Vm, intent: dict[str, Any], amount: int, sender: str = harness.SHOP) -> tuple[Answer, Tx]:
    """Refund part of a payment, as the contract's README says."""
    call = intent["pay"]["contract"]
    token = [argument["hex"] for argument in call["arguments"] if argument["name"] == "token"]
    args = [*token, intent["terms_hash"].replace("0x", "0x0200000020"), hexed_value(UInt(amount))]
    function = call["function"].replace("pay", "refund")
    return execute(vm, call["contract_id"], function, args, sender)


def transfer(vm: Vm, intent: dict[str, Any]) -> tuple[Answer, Tx]:
    """Pay by a plain transfer of the token, with the reference as memo."""
    memo = Some(Buffer(intent["pay"]["memo"].encode()))
    people = [PrincipalValue.parse(PAYER), PrincipalValue.parse(intent["recipient"])]
    args = [hexed_value(value) for value in (UInt(int(intent["amount"])), *people, memo)]
    return execute(vm, SBTC, "transfer", args, PAYER)


async def create(
    deployment: Deployment, merchant: str, *options: str, amount: int = 50_000
) -> dict[str, Any]:
    made: dict[str, Any] = await deployment.json(
        "intents", "create", "--merchant", merchant, "--amount", str(amount), *options
    )
    return made


def previous_events(deployment: Deployment, intent: dict[str, Any]) -> list[str]:
    """Return the events that the shop got of an intent, in order: no resends, no rejected signature."""
    arrivals = [
        a for a in deployment.receiver.arrivals if a.document["data"]["payment_intent"]["id"] == intent["id"]
    ]
    assert [arrival.refused for arrival in arrivals] == [None] * len(arrivals)
    assert len({arrival.id for arrival in arrivals}) == len(arrivals)
    ordered = sorted((arrival.document for arrival in arrivals), key=lambda document: document["sequence"])
    return [
        ":".join(filter(None, (document["type"].removeprefix("payment."), document["data"]["reason"])))
        for document in ordered
    ]


def refunds_told(deployment: Deployment, intent: dict[str, Any]) -> list[dict[str, str]]:
    documents = [arrival.document for arrival in deployment.receiver.arrivals]
    return [
        document["data"]["refund"]
        for document in sorted(documents, key=lambda document: document["sequence"])
        if document["type"] == "payment.refunded" and document["data"]["payment_intent"]["id"] == intent["id"]
    ]


@pytest.mark.usefixtures("backend")
async def test_what_the_contract_did_ends_in_the_right_states_and_webhooks(
    vm: Vm, deployment: Deployment
) -> None:
    """Paid in sBTC, in STX, twice, refunded in part and in full; refused calls change nothing."""
    shop = await deployment.shop(events=EVERY)
    await deployment.start()
    await deployment.caught_up()
    names = ("token", "twice", "both", "part", "full", "expired")
    intents = {name: await create(deployment, shop["merchant"]) for name in names}
    intents["stx"] = await create(deployment, shop["merchant"], "--asset", "stx", amount=STX_AMOUNT)
    assert intents["token"]["pay"]["contract"]["function"] == "pay-token"
    assert intents["stx"]["pay"]["contract"]["function"] == "pay-stx"

    paid = {name: pay(vm, intent) for name, intent in intents.items() if name != "expired"}
    for name, (answer, _) in paid.items():
        assert answer.result == Ok(Buffer(bytes.fromhex(intents[name]["terms_hash"][2:])))
    # The terms of another intent but for the price: another id, so this pays for nothing.
    cheap = intents["expired"]["pay"]["contract"]
    args = [hexed_value(UInt(1)) if a["name"] == "amount" else a["hex"] for a in cheap["arguments"]]
    _, spoiled = execute(vm, cheap["contract_id"], cheap["function"], args, STRANGER)
    deployment.chain.mine([*(tx for _, tx in paid.values()), spoiled], burn=True)
    await deployment.caught_up()

    again, second = pay(vm, intents["twice"], STRANGER)
    assert (encode(again.result).hex(), again.events) == ("08" + encode(UInt(1409)).hex(), [])
    _, direct = transfer(vm, intents["both"])
    stranger, not_his = refund(vm, intents["token"], 1, STRANGER)
    assert stranger.events == []
    parts = [refund(vm, intents["part"], amount) for amount in (10_000, 5_000)]
    _, whole = refund(vm, intents["full"], 50_000)
    over, too_much = refund(vm, intents["full"], 1)
    assert over.events == []
    _, of_stx = refund(vm, intents["stx"], STX_AMOUNT)
    deployment.chain.mine([second, direct, not_his, *(tx for _, tx in parts)], burn=True)
    deployment.chain.mine([whole, too_much, of_stx])
    deployment.chain.mine(n=2, burn=True)
    await deployment.caught_up()
    heard = {
        "token": ["created", "succeeded"],
        "twice": ["created", "succeeded"],
        "both": ["created", "succeeded", "attention:surplus"],
        "part": ["created", "succeeded", "refunded", "refunded"],
        "full": ["created", "succeeded", "refunded"],
        "expired": ["created"],
        # STX is anchored by default: two Bitcoin blocks for the payment, and for the refund.
        "stx": ["created", "processing", "succeeded", "refunded"],
    }
    await deployment.receiver.wait_for(sum(map(len, heard.values())))
    assert {name: previous_events(deployment, intent) for name, intent in intents.items()} == heard

    shown = {name: await deployment.json("intents", "show", intent["id"]) for name, intent in intents.items()}
    assert {name: (one["status"], one["flags"], one["amount_refunded"]) for name, one in shown.items()} == {
        "token": ("succeeded", [], "0"),
        "twice": ("succeeded", [], "0"),
        "both": ("succeeded", ["refund_due", "surplus"], "0"),
        "part": ("succeeded", ["partially_refunded"], "15000"),
        "full": ("succeeded", ["refunded"], "50000"),
        "expired": ("pending", [], "0"),
        "stx": ("succeeded", ["refunded"], str(STX_AMOUNT)),
    }
    assert shown["twice"]["amount_received"] == "50000"
    assert [(a["sender"], a["reason"]) for a in shown["twice"]["attempts"]] == [
        (STRANGER, "abort_by_response")
    ]
    assert shown["both"]["amount_received"] == "100000"
    assert [row["amount"] for row in shown["part"]["refunds"]] == ["10000", "5000"]
    assert refunds_told(deployment, intents["part"]) == [
        {"amount": amount, "tx_id": tx.tx_id}
        for amount, (_, tx) in zip(("10000", "5000"), parts, strict=True)
    ]
    [back] = shown["full"]["refunds"]
    assert (back["tx_id"], back["sender"], back["recipient"], back["event_index"]) == (
        whole.tx_id,
        harness.SHOP,
        PAYER,
        1,
    )
    for name in ("part", "full", "stx"):
        assert any("refunded" in (entry["reason"] or "") for entry in shown[name]["timeline"])
    assert shown["expired"]["transfers"] == []
    unmatched = await deployment.json("transfers", "list", "--unmatched")
    assert [(row["amount"], row["unmatched"]) for row in unmatched["data"]] == [("1", "unknown_terms")]
    card = await deployment.cli("intents", "show", intents["part"]["id"])
    assert "Refunded" in card


@pytest.mark.usefixtures("backend")
async def test_a_refund_follows_a_fork_and_is_sent_once(vm: Vm, deployment: Deployment) -> None:
    """A Bitcoin fork orphans a refund that was sent; mined again, it counts again, and is not sent twice."""
    shop = await deployment.shop(events=EVERY)
    await deployment.start()
    await deployment.caught_up()
    intent = await create(deployment, shop["merchant"])
    _, paid = pay(vm, intent)
    deployment.chain.mine([paid], burn=True)
    _, given = refund(vm, intent, 50_000)
    deployment.chain.mine([given])
    await deployment.receiver.wait_for(3)
    deployment.chain.reorg(1)
    await deployment.caught_up()
    shown = await deployment.json("intents", "show", intent["id"])
    assert (shown["status"], shown["flags"], shown["amount_refunded"]) == ("succeeded", [], "0")
    assert [row["status"] for row in shown["refunds"]] == ["orphaned"]
    assert "undone by a reorg" in shown["timeline"][-1]["reason"]
    deployment.chain.mine([given])
    deployment.chain.mine()
    await deployment.caught_up()
    shown = await deployment.json("intents", "show", intent["id"])
    assert (shown["flags"], shown["refunds_total"]) == (["refunded"], 2)
    report = await deployment.json("reindex", "--from", "1")
    assert (report["refunds"], report["events"], report["differences"]["count"]) == (0, 0, 0)
    events = await deployment.json("events", "list")
    assert sorted(event["type"] for event in events["data"]) == [
        "payment.created",
        "payment.refunded",
        "payment.succeeded",
    ]
    assert previous_events(deployment, intent) == ["created", "succeeded", "refunded"]
