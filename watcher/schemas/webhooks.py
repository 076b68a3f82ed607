"""Webhook endpoints, events and deliveries: responses and requests."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, StrictBool, WithJsonSchema

from notifier.events import SUBSCRIBABLE, EventType, read_subscriptions
from watcher.domain.model import Status
from watcher.schemas.base import Document, OwnedPage, Request, Time, example
from watcher.schemas.fields import DurationIn, IdIn, TimeIn, YesOrNoIn, read_id
from watcher.schemas.payment_intents import PaymentIntent

#: The values of :class:`notifier.schema.DeliveryStatus`, which clients must not import: it needs the
#: database.
DeliveryStatus = Literal["pending", "held", "delivered", "dead"]

#: An event type that an endpoint receives; ``*`` is all of them.
Subscription = EventType | Literal["*"]


def _read_subscriptions(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('must be a list of names, e.g. ["payment.succeeded"]')
    return read_subscriptions(value)


#: Subscriptions in a request.
SubscriptionsIn = Annotated[
    list[str],
    BeforeValidator(_read_subscriptions),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "enum": [*SUBSCRIBABLE, "*"]}, "minItems": 1}
    ),
]

_ENDPOINT = {
    "id": "we_01JD4P0A8D4RL5W1V3T9Y7Z6XN",
    "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
    "url": "https://shop.example/webhooks/sbtc",
    "events": ["payment.succeeded", "payment.failed", "payment.expired", "payment.attention"],
    "status": "enabled",
    "disabled_reason": None,
    "legacy_v0": False,
    "created_at": "2026-11-20T12:00:00.000Z",
}


class Endpoint(Document):
    """An endpoint that receives webhooks."""

    id: str
    merchant: str
    url: str
    events: list[Subscription]
    status: Literal["enabled", "disabled"]
    disabled_reason: Literal["operator", "gone", "failing"] | None
    legacy_v0: bool
    """Whether `X-Webhook-Signature` also carries `v0`."""
    created_at: Time

    model_config = example(_ENDPOINT)


class EndpointWithSecret(Document):
    """An endpoint and its secret, which is shown only this once."""

    endpoint: Endpoint
    secret: str
    previous_secret_expires_at: Time | None = None
    """Until then the previous secret signs too; null if there was none, or it ended at once."""

    model_config = example(
        {
            "endpoint": _ENDPOINT,
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "previous_secret_expires_at": None,
        }
    )


class EndpointPage(Document):
    """A page of endpoints, newest first; `next_cursor` is null on the last one."""

    data: list[Endpoint]
    next_cursor: str | None


class RemovedEndpoint(Document):
    """An endpoint that was removed."""

    id: str
    removed: Literal[True]


class TestEvent(Document):
    """A test event that was queued, and its delivery."""

    #: Keeps pytest from collecting it as a test.
    __test__ = False

    event: str
    delivery: str


class Recovered(Document):
    """Number of dead deliveries that are due again."""

    endpoint: str
    recovered: int
    """Deliveries so far."""
    complete: bool
    """False if there are very many: the rest follows in the background."""


class Replayed(Document):
    """Number of events that are sent again."""

    endpoint: str
    replayed: int
    """Events so far, without those already queued for the endpoint."""
    complete: bool
    """False if there are very many: the rest follows in the background."""


class Redelivered(Document):
    """The deliveries that send an event again."""

    event: str
    deliveries: list[str]


class EventChain(Document):
    """The chain at the time of the event."""

    network: str
    tip_height: int
    tip_hash: str
    burn_block_height: int


class EventData(Document):
    """A change of an intent; the intent is shown as it was at the time of the event."""

    payment_intent: PaymentIntent
    previous_status: Status | None
    reason: str | None
    supersedes: str | None
    """The event with the earlier verdict, which no longer holds."""
    chain: EventChain


class Event(Document):
    """An event: the body of a webhook."""

    id: str
    type: EventType
    timestamp: Time
    api_version: str
    sequence: int
    """Increases with each event of an intent."""
    livemode: bool | None = None
    """Whether it is about real money; false for every test event. Null where it is not known any more."""
    test: bool = False
    """It was sent to try an endpoint: nothing of it happened, whatever its type says."""
    data: EventData | dict[str, Any] | None
    """Null once retention emptied it; a different object for `webhook.test`."""


class EventPage(Document):
    """A page of events, newest first; `next_cursor` is null on the last one."""

    data: list[Event]
    next_cursor: str | None


class PulledEvent(Document):
    """A pulled event: `body` byte for byte as it is sent, null once retention emptied it."""

    id: str
    type: EventType
    body: str | None
    headers: dict[str, str]
    """With `endpoint`: signed with its secrets, as a delivery would be."""


class PulledEvents(Document):
    """The events after a given one, oldest first. Continue with `next_cursor`, even if there are none yet."""

    data: list[PulledEvent]
    next_cursor: str | None


class EventList(Document):
    """A page of events, newest first; with `after` for pulling, oldest first."""

    data: list[Event] | list[PulledEvent]
    next_cursor: str | None


class DeliveryAttempt(Document):
    """An attempt to deliver an event."""

    number: int
    at: Time
    duration_ms: int
    status_code: int | None
    error: str | None
    response: str | None
    """The first KiB of the response."""


class ListedDelivery(Document):
    """An event on its way to an endpoint."""

    id: str
    merchant: str
    event: str
    event_type: EventType
    endpoint: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Time | None
    last_status_code: int | None
    last_error: str | None
    created_at: Time
    delivered_at: Time | None
    dismissed_at: Time | None
    """When a dead delivery was dismissed from those that need attention."""


class Delivery(ListedDelivery):
    """An event on its way to an endpoint, with each attempt."""

    log: list[DeliveryAttempt]

    model_config = example(
        {
            "id": "dlv_01JD4P3B5E6SM7X2V4T8Y9Z1QK",
            "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
            "event": "evt_01JD4P2Z4C5RK6W1V3S7X8Y9ZM",
            "event_type": "payment.succeeded",
            "endpoint": "we_01JD4P0A8D4RL5W1V3T9Y7Z6XN",
            "status": "pending",
            "attempts": 1,
            "next_attempt_at": "2026-11-20T12:01:00.000Z",
            "last_status_code": 500,
            "last_error": None,
            "created_at": "2026-11-20T12:00:00.000Z",
            "delivered_at": None,
            "dismissed_at": None,
            "log": [
                {
                    "number": 1,
                    "at": "2026-11-20T12:00:00.100Z",
                    "duration_ms": 12,
                    "status_code": 500,
                    "error": None,
                    "response": "Internal Server Error",
                }
            ],
        }
    )


class DeliveryPage(Document):
    """A page of deliveries, newest first and without their logs; `next_cursor` is null on the last one."""

    data: list[ListedDelivery]
    next_cursor: str | None


# Requests


class DeliveryFilters(OwnedPage):
    """Filters of the list of deliveries."""

    status: DeliveryStatus | None = None
    """Only deliveries with this status."""
    endpoint: IdIn | None = None
    """Only deliveries to this endpoint."""
    event: IdIn | None = None
    """Only deliveries of this event."""
    type: EventType | None = None
    """Only deliveries of events of this type."""
    created_from: TimeIn | None = None
    """Only deliveries made at this time or later (RFC 3339 or unix seconds)."""
    created_to: TimeIn | None = None
    """Only deliveries made before this time (RFC 3339 or unix seconds)."""


def _read_after(value: object) -> str:
    return "" if value == "" else read_id(value)


class EventFilters(OwnedPage):
    """Filters of the list of events, or the position from which to pull."""

    type: EventType | None = None
    """Only events of this type."""
    intent: IdIn | None = None
    """Only events about this payment intent."""
    test: YesOrNoIn | None = None
    """Only test events, or only others. By default `webhook.test` is listed, no sample of another type."""
    after: Annotated[str, BeforeValidator(_read_after), WithJsonSchema({"type": "string"})] | None = None
    """With a merchant's own key: pull the events after this one, oldest first and without tests; empty for
    all. The rows hold the bodies as they are sent. Continue with `next_cursor`. It cannot be combined with
    filters."""
    endpoint: IdIn | None = None
    """With `after`: sign the bodies with the secrets of this endpoint."""


class NewEndpoint(Request):
    """An endpoint to add."""

    url: str
    """https, with a public address."""
    events: SubscriptionsIn | None = None
    """By default `payment.succeeded`, `payment.failed`, `payment.expired`, `payment.attention`."""
    legacy_v0: StrictBool | None = None
    """Also send `v0`, the plain HMAC of the body, which can be replayed: for old receivers only."""
    merchant: IdIn | None = None
    """The merchant, if an operator adds it; a merchant leaves it out."""

    model_config = example({"url": "https://shop.example/webhooks/sbtc", "events": ["payment.succeeded"]})


class ChangeEndpoint(Request):
    """Changes of an endpoint."""

    url: str | None = None
    events: SubscriptionsIn | None = None
    legacy_v0: StrictBool | None = None
    status: Literal["enabled", "disabled"] | None = None
    """`disabled` holds its deliveries back, `enabled` sends them."""

    model_config = example({"status": "enabled"})


class RotateSecret(Request):
    """Time for which the old secret signs too."""

    overlap: DurationIn | None = None

    model_config = example({"overlap": "12h"})


class SendTest(Request):
    """A test event to send."""

    type: EventType = EventType.TEST
    """The type of the sample; `webhook.test` is about no payment."""
    intent: IdIn | None = None
    """Show this intent, as its newest event of the type did; by default the sample's does not exist."""

    model_config = example({"type": "payment.succeeded"})


class Replay(Request):
    """Time from which on events are sent again."""

    since: TimeIn

    model_config = example({"since": "2026-11-20T00:00:00.000Z"})


class Redeliver(Request):
    """Endpoint to send an event to again; by default all that received it."""

    endpoint: IdIn | None = None

    model_config = example({"endpoint": "we_01JD4P0A8D4RL5W1V3T9Y7Z6XN"})
