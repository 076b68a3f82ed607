"""Endpoints, deliveries, events, and how the daemon stands."""

from collections.abc import Sequence

from watcher.client.methods import Method, PageMethod, PaginatedMethod
from watcher.client.request import Listing, PageRequest, Request, Route, drop_none
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
    Queue,
    Recovered,
    Redelivered,
    RemovedEndpoint,
    Replayed,
    ServerStatus,
    TestEvent,
)

_ENDPOINTS = "/v1/webhook_endpoints"
_ENDPOINT = _ENDPOINTS + "/{}"
_DELIVERIES = "/v1/webhook_deliveries"
_DELIVERY = _DELIVERIES + "/{}"
_EVENTS = "/v1/events"
_EVENT = _EVENTS + "/{}"


class WebhookMethods:
    """Endpoints, deliveries, events, and how the daemon stands."""

    @Method
    @staticmethod
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
        return Route("POST", _ENDPOINTS, EndpointWithSecret).to(body=body, idempotency_key=idempotency_key)

    @PageMethod
    @staticmethod
    def endpoints(
        *, merchant: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> PageRequest[EndpointPage, Endpoint]:
        """List endpoints, newest first."""
        return Listing(_ENDPOINTS, EndpointPage, Endpoint).to(merchant=merchant, limit=limit, cursor=cursor)

    each_endpoint = PaginatedMethod(endpoints)

    @Method
    @staticmethod
    def endpoint(endpoint_id: str) -> Request[Endpoint]:
        """Return one endpoint."""
        return Route("GET", _ENDPOINT, Endpoint).to(endpoint_id)

    @Method
    @staticmethod
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
        return Route("PATCH", _ENDPOINT, Endpoint).to(endpoint_id, body=body, idempotency_key=idempotency_key)

    @Method
    @staticmethod
    def remove_endpoint(endpoint_id: str, *, idempotency_key: str | None = None) -> Request[RemovedEndpoint]:
        """Remove an endpoint; what was not delivered to it is dead."""
        return Route("DELETE", _ENDPOINT, RemovedEndpoint).to(endpoint_id, idempotency_key=idempotency_key)

    @Method
    @staticmethod
    def rotate_endpoint_secret(
        endpoint_id: str, *, overlap: str | int | None = None, idempotency_key: str | None = None
    ) -> Request[EndpointWithSecret]:
        """Give an endpoint a fresh secret, shown this once.

        The old one signs too for ``overlap``: 24h by default, 0 if it leaked.
        """
        body = drop_none(overlap=overlap)
        return Route("POST", _ENDPOINT + "/rotate_secret", EndpointWithSecret).to(
            endpoint_id, body=body, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def test_endpoint(
        endpoint_id: str,
        *,
        type: str | None = None,  # noqa: A002 - it is called so
        intent: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[TestEvent]:
        """Queue a test event: ``webhook.test``, or a sample of another type, of no intent or of one given."""
        body = drop_none(type=type, intent=intent)
        return Route("POST", _ENDPOINT + "/test", TestEvent).to(
            endpoint_id, body=body, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def recover_endpoint(endpoint_id: str, *, idempotency_key: str | None = None) -> Request[Recovered]:
        """Make all dead deliveries of an endpoint due at once."""
        return Route("POST", _ENDPOINT + "/recover", Recovered).to(
            endpoint_id, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def replay_endpoint(
        endpoint_id: str, *, since: Moment, idempotency_key: str | None = None
    ) -> Request[Replayed]:
        """Send an endpoint everything it subscribes to again, from a time on."""
        body = drop_none(since=since)
        return Route("POST", _ENDPOINT + "/replay", Replayed).to(
            endpoint_id, body=body, idempotency_key=idempotency_key
        )

    @PageMethod
    @staticmethod
    def deliveries(
        *,
        status: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        type: str | None = None,  # noqa: A002 - it is called so
        created_from: Moment | None = None,
        created_to: Moment | None = None,
        merchant: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> PageRequest[DeliveryPage, ListedDelivery]:
        """List deliveries, newest first."""
        return Listing(_DELIVERIES, DeliveryPage, ListedDelivery).to(
            status=status,
            endpoint=endpoint,
            event=event,
            type=type,
            created_from=created_from,
            created_to=created_to,
            merchant=merchant,
            limit=limit,
            cursor=cursor,
        )

    each_delivery = PaginatedMethod(deliveries)

    @Method
    @staticmethod
    def delivery(delivery_id: str) -> Request[Delivery]:
        """Return one delivery with the log of its attempts."""
        return Route("GET", _DELIVERY, Delivery).to(delivery_id)

    @Method
    @staticmethod
    def retry_delivery(delivery_id: str, *, idempotency_key: str | None = None) -> Request[Delivery]:
        """Make a pending or dead delivery due at once."""
        return Route("POST", _DELIVERY + "/retry", Delivery).to(delivery_id, idempotency_key=idempotency_key)

    @Method
    @staticmethod
    def dismiss_delivery(delivery_id: str, *, idempotency_key: str | None = None) -> Request[Delivery]:
        """Take a dead delivery out of the count of those that need attention; it stays dead."""
        return Route("POST", _DELIVERY + "/dismiss", Delivery).to(
            delivery_id, idempotency_key=idempotency_key
        )

    @PageMethod
    @staticmethod
    def events(
        *,
        type: str | None = None,  # noqa: A002 - it is called so
        intent: str | None = None,
        test: bool | None = None,
        merchant: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> PageRequest[EventPage, Event]:
        """List events, newest first; ``test``: only test events, or only others."""
        return Listing(_EVENTS, EventPage, Event).to(
            type=type, intent=intent, test=test, merchant=merchant, limit=limit, cursor=cursor
        )

    each_event = PaginatedMethod(events)

    @Method
    @staticmethod
    def event(event_id: str) -> Request[Event]:
        """Return one event as it was sent."""
        return Route("GET", _EVENT, Event).to(event_id)

    @Method
    @staticmethod
    def redeliver_event(
        event_id: str, *, endpoint: str | None = None, idempotency_key: str | None = None
    ) -> Request[Redelivered]:
        """Send an event again, under the same id: to one endpoint, or to all that got it."""
        body = drop_none(endpoint=endpoint)
        return Route("POST", _EVENT + "/redeliver", Redelivered).to(
            event_id, body=body, idempotency_key=idempotency_key
        )

    @PageMethod
    @staticmethod
    def pull(
        after: str | None = None, *, endpoint: str | None = None, limit: int | None = None
    ) -> PageRequest[PulledEvents, PulledEvent]:
        """Return what was sent after an event, oldest first; from the beginning without ``after``.

        Each holds the body byte for byte as webhooks have it; with ``endpoint`` signed with its secrets, so
        that the same verifier takes it. Store the last id, and ask for what comes after it next time:
        ``client.pull(last_id).data``
        """
        return Listing(_EVENTS, PulledEvents, PulledEvent).to(
            after=after or "", endpoint=endpoint, limit=limit, continued_by="after"
        )

    each_pulled = PaginatedMethod(pull)

    @Method
    @staticmethod
    def queue(*, merchant: str | None = None) -> Request[Queue]:
        """Return the deliveries by state, and how each endpoint answered in the last 24 hours."""
        return Route("GET", "/v1/queue", Queue).to(query={"merchant": merchant})

    @Method
    @staticmethod
    def status() -> Request[ServerStatus]:
        """Return how the daemon stands."""
        return Route("GET", "/v1/status", ServerStatus).to()
