"""What a payer's wallet is asked to do: the server computes it, for the address that the wallet has."""

from typing import Any

import httpx
import pytest

from chain.testing import principal, txs
from contracts.calls import read_payment_call, read_transfer_call
from tests.integration.watcher.api.api_fixture import ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.schemas.checkout import WalletCall

TESTNET_PAYER = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"


async def ask(api: ApiFixture, intent: dict[str, Any], sender: str = PAYER) -> httpx.Response:
    token = str(intent["checkout_url"]).removeprefix("/pay/")
    return await api.stranger.get(f"/v1/checkout/{token}/call", params={"sender": sender})


async def asked(api: ApiFixture, intent: dict[str, Any], sender: str = PAYER) -> dict[str, Any]:
    """Return the method's params, and see that the answer has the form that is documented."""
    answer = await ask(api, intent, sender)
    assert answer.status_code == 200, answer.text
    WalletCall.model_validate(answer.json())
    params: dict[str, Any] = answer.json()["params"]
    return params | {"method": answer.json()["method"]}


def arguments(call: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(one) for one in call["functionArgs"]]


async def test_the_payment_contract_is_called_where_there_is_one(api: ApiFixture) -> None:
    """The call pays the intent's own terms, in deny mode with one condition on the signer."""
    made = await api.create()
    call = await asked(api, made)
    assert (call["contract"], call["postConditionMode"]) == (api.fixture.settings.payment_contract, "deny")
    payment = read_payment_call(call["functionName"], arguments(call))
    assert payment is not None
    assert f"0x{payment.terms_hash.hex()}" == made["terms_hash"]
    [condition] = call["postConditions"]
    assert f"0x{condition}" == made["pay"]["contract"]["post_conditions"][0]["hex"]


async def test_the_rest_is_a_plain_transfer_with_the_memo(api: ApiFixture) -> None:
    """What is missing of an underpaid intent, from the wallet's address, no more and no less."""
    made = await api.create()
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 20_000, made["reference"].encode()))
    call = await asked(api, made)
    transfer = read_transfer_call(arguments(call))
    assert transfer is not None
    assert (transfer.amount, transfer.sender, transfer.recipient) == (30_000, PAYER, SHOP)
    assert transfer.memo == made["reference"].encode()
    assert call["postConditions"][0].endswith((30_000).to_bytes(8, "big").hex())


async def test_without_a_payment_contract_stx_goes_with_its_memo(sqlite_api: ApiFixture) -> None:
    """The wallet's own transfer of STX; an amount that a wallet would round is paid by hand."""
    async with ApiFixture(sqlite_api.fixture, payment_contract=None) as api:
        made = await api.create(asset="stx", amount="25000000")
        assert await asked(api, made) == {
            "method": "stx_transferStx",
            "recipient": SHOP,
            "amount": "25000000",
            "memo": made["reference"],
            "address": PAYER,
            "network": "mainnet",
        }
        huge = await api.create(asset="stx", amount=str(2**53))
        assert problem(await ask(api, huge)) == (409, "not_payable")


async def test_only_the_payer_that_counts_is_given_a_call(api: ApiFixture) -> None:
    """Money from another address would not pay: it is refused before the wallet is asked."""
    made = await api.create(payer=PAYER)
    assert problem(await ask(api, made, principal("somebody else"))) == (409, "wrong_payer")
    call = await asked(api, made)
    assert f"0x{call['postConditions'][0]}" == made["pay"]["contract"]["post_conditions"][0]["hex"]


@pytest.mark.parametrize("sender", ["", "x", "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh", TESTNET_PAYER])
async def test_a_sender_of_another_network_is_refused(sqlite_api: ApiFixture, sender: str) -> None:
    """A wallet that is on another network, or no Stacks wallet, is told so and asked for nothing."""
    assert wrong_fields(await ask(sqlite_api, await sqlite_api.create(), sender)) == ["sender"]


async def test_what_is_not_to_be_paid_gives_no_call(api: ApiFixture) -> None:
    """A canceled or paid intent asks no wallet for money; a wrong token leads nowhere."""
    made = await api.create()
    await api.client.post(f"/v1/payment_intents/{made['id']}/cancel")
    assert problem(await ask(api, made)) == (409, "not_payable")
    paid = await api.create(level="included")
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, paid["reference"].encode()))
    assert problem(await ask(api, paid)) == (409, "not_payable")
    assert problem(await ask(api, {"checkout_url": "/pay/" + "a" * 22})) == (404, "not_found")
    assert wrong_fields(await api.stranger.get(f"/v1/checkout/{'a' * 22}/call")) == ["sender"]
