"""The real daemon follows an API through its versions, while it runs, on both databases."""

import pytest

from chain.testing import principal, txs
from tests.deployment import Deployment

pytestmark = pytest.mark.usefixtures("backend")


async def test_an_api_that_is_upgraded_and_then_loses_its_batches_misses_no_payment(
    deployment: Deployment,
) -> None:
    """Each version pays two intents in one block, and each success is sent once; nobody restarts anything."""
    shop = await deployment.shop()
    await deployment.start()
    await deployment.caught_up()
    expected = []
    for version in ("9.0.2", "9.1.0", "9.7.1", "sunset"):
        deployment.api.become(version)
        made = [
            await deployment.json(
                *("intents", "create", "--merchant", shop["merchant"], "--amount", amount),
                *("--level", "included"),
            )
            for amount in ("50000", "60000")
        ]
        deployment.chain.mine(n=2)
        deployment.chain.mine(
            [
                txs.sbtc_transfer(
                    principal("payer"), each["recipient"], int(each["amount"]), each["pay"]["memo"].encode()
                )
                for each in made
            ]
        )
        expected += [each["id"] for each in made]
        arrivals = await deployment.receiver.wait_for(len(expected), within=45)
        paid = {arrival.document["data"]["payment_intent"]["id"] for arrival in arrivals}
        assert paid == set(expected)
        assert {arrival.document["type"] for arrival in arrivals} == {"payment.succeeded"}
    [source] = (await deployment.status())["sources"]
    assert (source["state"], source["reading"]) == ("ok", "single")
    # v2/blocks was left when it announced its end.
    assert source["gone_routes"] == ["tx/multiple"]
