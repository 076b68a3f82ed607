"""Endpoints, deliveries, events, and how the daemon stands."""

from collections.abc import Sequence

from watcher.client import routes
from watcher.client.request import PageRequest, Request, drop_none
from watcher.client.types import Moment
from watcher.schemas import (
    Delivery,
    DeliveryPage,
    Endpoint,
    EndpointPage,
    EndpointWithSecret,
    Event,
    EventPage,
    ListedDelivery,
    PulledEvent,
    PulledEvents,
    Recovered,
    Redelivered,
    RemovedEndpoint,
    Replayed,
    ServerStatus,
    TestEvent,
)


def add_endpoint(
    url: str,
    *,
    events: Sequence[str] | None = None,
    legacy_v0: bool | None = None,
    merchant: str | None = None,
    idempotency_key: str | None = None,
) -> Request[EndpointWithSecret]:
    """Add an endpoint; its secret is shown this once.

    ``secret = client.add_endpoint("https://shop.example/hooks").secret``
    """
    events = None if events is None else list(events)
    body = drop_none(url=url, events=events, legacy_v0=legacy_v0, merchant=merchant)
    return routes.ADD_ENDPOINT.to(body=body, idempotency_key=idempotency_key)


def endpoints(
    *, merchant: str | None = None, limit: int | None = None, cursor: str | None = None
) -> PageRequest[EndpointPage, Endpoint]:
    """List endpoints, newest first."""
    return routes.ENDPOINTS.to(query={"merchant": merchant, "limit": limit, "cursor": cursor})


def endpoint(endpoint_id: str) -> Request[Endpoint]:
    """Return one endpoint."""
    return routes.ENDPOINT.to(endpoint_id)


def change_endpoint(
    endpoint_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    legacy_v0: bool | None = None,
    status: str | None = None,
    idempotency_key: str | None = None,
) -> Request[Endpoint]:
    """Change what is given; ``status="disabled"`` holds its deliveries back, ``"enabled"`` sends them."""
    events = None if events is None else list(events)
    body = drop_none(url=url, events=events, legacy_v0=legacy_v0, status=status)
    return routes.CHANGE_ENDPOINT.to(endpoint_id, body=body, idempotency_key=idempotency_key)


def remove_endpoint(endpoint_id: str, *, idempotency_key: str | None = None) -> Request[RemovedEndpoint]:
    """Remove an endpoint; what was not delivered to it is dead."""
    return routes.REMOVE_ENDPOINT.to(endpoint_id, idempotency_key=idempotency_key)


def rotate_endpoint_secret(
    endpoint_id: str, *, overlap: str | int | None = None, idempotency_key: str | None = None
) -> Request[EndpointWithSecret]:
    """Give an endpoint a fresh secret, shown this once; the old one signs too for ``overlap`` (24h, 0 if it leaked)."""
    body = drop_none(overlap=overlap)
    return routes.ROTATE_ENDPOINT_SECRET.to(endpoint_id, body=body, idempotency_key=idempotency_key)


def test_endpoint(
    endpoint_id: str,
    *,
    idempotency_key: str | None = None,  # noqa: PT028 - no test, but named like one
) -> Request[TestEvent]:
    """Queue a ``webhook.test`` event."""
    return routes.TEST_ENDPOINT.to(endpoint_id, idempotency_key=idempotency_key)


def recover_endpoint(endpoint_id: str, *, idempotency_key: str | None = None) -> Request[Recovered]:
    """Make all dead deliveries of an endpoint due at once."""
    return routes.RECOVER_ENDPOINT.to(endpoint_id, idempotency_key=idempotency_key)


def replay_endpoint(
    endpoint_id: str, *, since: Moment, idempotency_key: str | None = None
) -> Request[Replayed]:
    """Send an endpoint everything it subscribes to again, from a time on."""
    body = drop_none(since=since)
    return routes.REPLAY_ENDPOINT.to(endpoint_id, body=body, idempotency_key=idempotency_key)


def deliveries(
    *,
    status: str | None = None,
    endpoint: str | None = None,
    event: str | None = None,
    merchant: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> PageRequest[DeliveryPage, ListedDelivery]:
    """List deliveries, newest first."""
    return routes.DELIVERIES.to(
        query={
            "status": status,
            "endpoint": endpoint,
            "event": event,
            "merchant": merchant,
            "limit": limit,
            "cursor": cursor,
        }
    )


def delivery(delivery_id: str) -> Request[Delivery]:
    """Return one delivery with the log of its attempts."""
    return routes.DELIVERY.to(delivery_id)


def retry_delivery(delivery_id: str, *, idempotency_key: str | None = None) -> Request[Delivery]:
    """Make a pending or dead delivery due at once."""
    return routes.RETRY_DELIVERY.to(delivery_id, idempotency_key=idempotency_key)


def dismiss_delivery(delivery_id: str, *, idempotency_key: str | None = None) -> Request[Delivery]:
    """Take a dead delivery out of the count of those that somebody has to look at; it stays dead."""
    return routes.DISMISS_DELIVERY.to(delivery_id, idempotency_key=idempotency_key)


def events(
    *,
    type: str | None = None,  # noqa: A002 - it is called so
    intent: str | None = None,
    merchant: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> PageRequest[EventPage, Event]:
    """List events, newest first."""
    query = {"type": type, "intent": intent, "merchant": merchant, "limit": limit, "cursor": cursor}
    return routes.EVENTS.to(query=query)


def event(event_id: str) -> Request[Event]:
    """Return one event as it was told."""
    return routes.EVENT.to(event_id)


def redeliver_event(
    event_id: str, *, endpoint: str | None = None, idempotency_key: str | None = None
) -> Request[Redelivered]:
    """Send an event again, under the same id: to one endpoint, or to all that got it."""
    body = drop_none(endpoint=endpoint)
    return routes.REDELIVER_EVENT.to(event_id, body=body, idempotency_key=idempotency_key)


def pull(
    after: str | None = None, *, endpoint: str | None = None, limit: int | None = None
) -> PageRequest[PulledEvents, PulledEvent]:
    """Return what was told after an event, oldest first; from the beginning without ``after``.

    Each holds the body byte for byte as webhooks have it; with ``endpoint`` signed with its secrets, so that the same
    verifier takes it. Store the last id, and ask for what comes after it next time: ``client.pull(last_id).data``
    """
    query = {"after": after or "", "endpoint": endpoint, "limit": limit}
    return routes.PULL.to(query=query, continued_by="after")


def status() -> Request[ServerStatus]:
    """Return how the daemon stands."""
    return routes.STATUS.to()
