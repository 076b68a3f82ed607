"""Sample events: one of every type, as the real ones are, and nothing that could be taken for money."""

import json
from typing import Any

import pytest

from chain.address import parse_principal
from chain.testing import principal
from contracts.networks import NETWORKS, AssetSpec, NetworkName, default_assets
from notifier.events import SUBSCRIBABLE, EventType, event_body
from notifier.ids import new_id
from watcher import schemas
from watcher.domain.server_info import ServerInfo
from watcher.schemas.webhooks import EventData
from watcher.services import samples
from watcher.services.intent_requests import random_reference
from watcher.services.samples import AMOUNT, Sample

NOW = 1_790_000_000
PAYMENTS = [EventType(name) for name in SUBSCRIBABLE]

#: Of each type: the status, the flags, what is received, and the fields of the event that say why.
EXPECTED: dict[EventType, tuple[str, list[str], int, str | None, str | None]] = {
    EventType.CREATED: ("pending", [], 0, None, None),
    EventType.PROCESSING: ("processing", [], AMOUNT, "pending", None),
    EventType.SUCCEEDED: ("succeeded", [], AMOUNT, "pending", None),
    EventType.FAILED: ("failed", [], 0, "pending", "abort_by_post_condition"),
    EventType.EXPIRED: ("expired", [], 0, "pending", None),
    EventType.CANCELED: ("canceled", [], 0, "pending", None),
    EventType.ATTENTION: ("expired", ["late", "refund_due"], AMOUNT, "expired", "late"),
    EventType.REFUNDED: ("succeeded", ["refunded"], AMOUNT, "succeeded", None),
}


def sample(
    seed: str = "1", network: NetworkName = NetworkName.MAINNET, asset: AssetSpec | None = None
) -> Sample:
    spec = NETWORKS[network]
    return Sample(
        seed=seed,
        merchant="mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
        recipient=principal("shop", mainnet=spec.mainnet),
        asset=asset or default_assets(spec, spec.sbtc_contract)[0],
        server_info=ServerInfo(network=network.value, public_url="https://pay.example"),
        now=NOW,
    )


def test_every_type_that_is_about_a_payment_has_a_sample() -> None:
    """A new type without a sample fails here."""
    assert set(samples._STORIES) == set(PAYMENTS) == set(EXPECTED)


@pytest.mark.parametrize("kind", PAYMENTS)
def test_a_sample_says_what_its_type_says(kind: EventType) -> None:
    """Decided as real events are."""
    data = sample().data(kind)
    intent = data["payment_intent"]
    shown = (intent["status"], intent["flags"], int(intent["amount_received"]))
    assert (*shown, data["previous_status"], data["reason"]) == EXPECTED[kind]
    assert intent["timeline"][0]["reason"] == "created"
    assert intent["timeline"][-1]["status"] == intent["status"]
    assert (kind is EventType.REFUNDED) == ("refund" in data)
    assert data["supersedes"] is None


@pytest.mark.parametrize("network", NetworkName)
@pytest.mark.parametrize("kind", PAYMENTS)
def test_a_sample_is_valid_by_the_published_schema(kind: EventType, network: NetworkName) -> None:
    """On every network, with addresses of that network."""
    data = sample(network=network).data(kind)
    written = EventData.model_validate(data).model_dump(mode="json")
    assert written == {name: value for name, value in data.items() if name != "refund"}
    body = event_body(id="evt_1", type=kind, created_at=NOW, sequence=1, data=data, test=True)
    assert schemas.Event.of(json.loads(body)).test is True
    assert data["chain"]["network"] == network
    for transfer in data["payment_intent"]["transfers"] + data["payment_intent"]["refunds"]:
        for name in ("sender", "recipient"):
            parse_principal(transfer.get(name, transfer["sender"]), mainnet=network is NetworkName.MAINNET)


@pytest.mark.parametrize("kind", PAYMENTS)
def test_a_sample_is_about_an_intent_that_cannot_exist(kind: EventType) -> None:
    """The time in its id is 1970, and its reference has a letter that none made here has."""
    intent = sample().data(kind)["payment_intent"]
    assert intent["id"].startswith("pi_0000000000")
    assert len(intent["id"]) == len(new_id("pi_", NOW))
    assert "L" in intent["reference"]
    assert not any("L" in random_reference(bytes([number]).__mul__) for number in range(256))
    assert intent["livemode"] is False
    assert intent["checkout_url"] is None
    assert intent["metadata"] == {"order_id": "sample"}


def test_two_samples_have_no_id_in_common() -> None:
    """What an endpoint remembers of one does not hide the next."""

    def ids(found: dict[str, Any]) -> set[str]:
        intent = found["payment_intent"]
        moved = intent["transfers"] + intent["refunds"]
        return {intent["id"], intent["reference"], *(transfer["tx_id"] for transfer in moved)}

    one, other = (ids(sample(seed).data(EventType.REFUNDED)) for seed in ("1", "2"))
    assert len(one) == len(other) == 4
    assert not one & other


def test_a_sample_is_of_the_asset_that_is_asked_for() -> None:
    """STX has no contract."""
    spec = NETWORKS[NetworkName.MAINNET]
    stx = default_assets(spec, spec.sbtc_contract)[1]
    intent = sample(asset=stx).data(EventType.CREATED)["payment_intent"]
    assert (intent["asset"], intent["asset_identifier"]) == ("stx", "STX")
    assert intent["pay"]["transfer"]["memo"] == intent["reference"]
