"""The real program sends a large payment's success only after a second source has shown it."""

import asyncio

import pytest

from chain.testing import ScriptedApi, principal, txs
from tests.deployment import Deployment

pytestmark = pytest.mark.usefixtures("backend")


async def test_a_large_payment_waits_for_the_second_source_and_a_small_one_does_not(
    deployment: Deployment,
) -> None:
    """A killed daemon goes on with what waits; the success names the hosts that agreed, and comes once."""
    async with ScriptedApi(deployment.chain) as second:
        deployment.environment |= {
            "SBTC_WATCHER_API_URLS": f"{deployment.api.url},{second.url}",
            "SBTC_WATCHER_VERIFY_AMOUNT_OVER": '{"sbtc": 1000000}',
            "SBTC_WATCHER_DEFAULT_TTL": "1h",
        }
        shop = await deployment.shop()
        daemon = await deployment.start()
        await deployment.caught_up()
        intents = [
            await deployment.json(
                *("intents", "create", "--merchant", shop["merchant"], "--amount", amount),
                *("--level", "included"),
            )
            for amount in ("1000001", "1000000")
        ]
        large, small = intents
        second.faults.fail(times=None)
        deployment.chain.mine(
            [
                txs.sbtc_transfer(
                    principal("payer"), each["recipient"], int(each["amount"]), each["pay"]["memo"].encode()
                )
                for each in intents
            ]
        )
        [arrival] = await deployment.receiver.wait_for(1)
        assert arrival.document["data"]["payment_intent"]["id"] == small["id"]
        assert arrival.document["data"]["payment_intent"]["transfers"][0]["verified_by"] == []
        async with asyncio.timeout(20):
            while (await deployment.json("intents", "show", large["id"]))["flags"] != ["unverified"]:
                pass
        assert (await deployment.status())["attention"] == 1
        daemon.kill()
        await daemon.wait()
        second.faults.clear()
        await deployment.start()
        # On PostgreSQL the killed daemon holds its lease for a while.
        arrivals = await deployment.receiver.wait_for(2, within=45)
        paid = arrivals[1].document["data"]["payment_intent"]
        assert (arrivals[1].document["type"], paid["id"]) == ("payment.succeeded", large["id"])
        hosts = sorted(url.removeprefix("http://") for url in (deployment.api.url, second.url))
        assert paid["transfers"][0]["verified_by"] == hosts
        assert (await deployment.status())["attention"] == 0
