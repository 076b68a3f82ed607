"""The queue of deliveries, and how the endpoints answer."""

from typing import ClassVar

from watcher.schemas.base import Document, Request, Time, example
from watcher.schemas.fields import IdIn


class Latency(Document):
    """Milliseconds within which half of the answered attempts, and 95 of 100, were answered."""

    p50: int
    p95: int


class LastError(Document):
    """The newest attempt that failed."""

    at: Time
    status_code: int | None
    message: str
    """Why it failed, in words."""
    delivery: str


class Performance(Document):
    """The attempts of the last 24 hours; of an endpoint with very many only the newest count."""

    attempts: int
    success_rate: float | None
    """From 0 to 1; null where nothing was tried."""
    latency_ms: Latency | None
    """Null where nothing was answered."""
    last_error: LastError | None


class OpenDeliveries(Document):
    """Deliveries that are still to come, by state."""

    due: int
    """Their time has come."""
    waiting: int
    """Their next attempt is later."""
    in_flight: int
    """They are being sent right now."""
    held: int
    """Their endpoint is disabled."""


class EndpointQueue(OpenDeliveries, Performance):
    """An endpoint's deliveries that are still to come, and how it answers."""

    endpoint: str


class Queue(OpenDeliveries, Performance):
    """The queue of deliveries, and how the endpoints answer."""

    delivered_24h: int
    """Made and delivered in the last 24 hours; 10,000 stands for more."""
    dead_24h: int
    """Given up in the last 24 hours, and not dismissed."""
    oldest_seconds: float | None
    """Age of the oldest pending delivery."""
    endpoints: list[EndpointQueue]
    """Up to 50: those in trouble first, then the newest. Rate and latency above are of these."""

    model_config = example(
        {
            "due": 0,
            "waiting": 1,
            "in_flight": 0,
            "held": 0,
            "delivered_24h": 240,
            "dead_24h": 0,
            "oldest_seconds": 48.2,
            "attempts": 241,
            "success_rate": 0.9959,
            "latency_ms": {"p50": 84, "p95": 210},
            "last_error": {
                "at": "2026-11-20T12:00:00.100Z",
                "status_code": 500,
                "message": "answered 500 Internal Server Error",
                "delivery": "dlv_01JD4P3B5E6SM7X2V4T8Y9Z1QK",
            },
            "endpoints": [],
        }
    )


class QueueFilters(Request):
    """Whose queue."""

    member: ClassVar[str] = "parameter"

    merchant: IdIn | None = None
    """For an operator: only this merchant's. A merchant sees only its own."""
