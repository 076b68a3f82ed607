"""One of each thing that the routes have ids for, so that every route has something to show."""

from chain.testing import txs
from notifier import deliveries, endpoints
from notifier.secrets import PLAIN, SecretStore
from notifier.ssrf import CheckedUrl
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.schemas import NewPaymentLink
from watcher.services import api_keys
from watcher.store import intents

URL = "https://203.0.113.7/hooks"


def add_endpoint(api: ApiFixture, merchant: str, *, secret_store: SecretStore = PLAIN) -> str:
    """Add an endpoint without asking whether webhooks may go there; nothing is sent."""
    with api.fixture.database.begin() as connection:
        made, _ = endpoints.create(
            connection,
            merchant=merchant,
            url=CheckedUrl(URL),
            events=["*"],
            secret_store=secret_store,
            now=api.fixture.clock(),
        )
    api.fixture.clock.now += 0.002  # ids of two milliseconds sort by time
    return made.id


def make_everything(api: ApiFixture) -> dict[str, str]:
    """Let the merchant have one of each; return the ids by the names that paths have for them."""
    fixture = api.fixture
    endpoint = add_endpoint(api, api.merchant)
    intent = fixture.create(reference="inv-1", metadata={"order": "1"})
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"), txs.sbtc_transfer(PAYER, SHOP, 7, b"stray")
    )
    [stray] = [row["id"] for row in fixture.transfers() if row["intent_id"] is None]
    with fixture.services(api.merchant) as services:
        link = services.create_link(NewPaymentLink(amount=7000, description="Coffee"))
    with fixture.database.read() as connection:
        key = api_keys.of_merchant(connection, api.merchant)[-1]["id"]
        rows, _ = deliveries.list_deliveries(connection, merchant=api.merchant)
        token = intents.load_intents(connection, [intent])[intent].checkout_token
    assert token is not None
    return {
        "intent_id": intent,
        "link_id": link["id"],
        "transfer_id": stray,
        "endpoint_id": endpoint,
        "delivery_id": rows[0]["id"],
        "event_id": rows[0]["event"],
        "merchant_id": api.merchant,
        "key_id": key,
        "token": token,
    }


def make_doomed(api: ApiFixture) -> dict[str, dict[str, str]]:
    """Return ids, by operation, of things that the operation uses up or takes away from others."""
    fixture = api.fixture
    changed, rotated = fixture.add_merchant("Changed", SHOP), fixture.add_merchant("Rotated", SHOP)
    with fixture.database.read() as connection:
        [key] = api_keys.of_merchant(connection, changed)
    canceled = fixture.create(reference="inv-3")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 5, b"inv-3"))
    fixture.cancel(canceled)
    return {
        "cancel_payment_intent": {"intent_id": fixture.create(reference="inv-2")},
        "dismiss_payment_intent": {"intent_id": canceled},
        # Disabled, it would refuse tests and recoveries.
        "change_webhook_endpoint": {"endpoint_id": add_endpoint(api, api.merchant)},
        "remove_webhook_endpoint": {"endpoint_id": add_endpoint(api, api.merchant)},
        "change_merchant": {"merchant_id": changed},
        "rotate_merchant_key": {"merchant_id": rotated},
        "revoke_merchant_key": {"merchant_id": changed, "key_id": key["id"]},
    }
