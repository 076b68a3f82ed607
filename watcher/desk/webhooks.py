"""The desk for webhooks: endpoints, events and their deliveries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from notifier import bulk, deliveries, endpoints, outbox, signing
from notifier.events import DEFAULT_EVENTS, EventType, rfc3339
from notifier.guard import CheckedUrl, check_url
from notifier.tables import DeliveryStatus, EndpointStatus, delivery, endpoint, event
from watcher import fields, merchants
from watcher.desk.base import Base, Document, fields_of, read
from watcher.durations import parse_duration
from watcher.errors import Refused
from watcher.fields import Problems
from watcher.settings import Settings

#: Rows of a page when nothing else is asked for.
DEFAULT_LIMIT = 20

#: How long the old secret signs too when nothing else is asked for, and at most, seconds.
DEFAULT_OVERLAP = endpoints.DEFAULT_OVERLAP
MAX_OVERLAP = endpoints.MAX_OVERLAP


def endpoint_url(settings: Settings, document: object) -> CheckedUrl | None:
    """Return the URL in an endpoint's document, None when there is none; call it before the transaction.

    Blocks for a DNS look-up. Raises :class:`Refused` and :class:`notifier.errors.RefusedUrl`.
    """
    url = document.get("url") if isinstance(document, dict) else None
    if url is None:
        return None
    if not isinstance(url, str):
        raise Refused("validation", errors=[{"field": "url", "message": "must be a text"}])
    return check_url(
        url, allow_http=settings.webhook_allow_http, allow_private=settings.webhook_allow_private
    )


class WebhookDesk(Base):
    """Endpoints, events and deliveries."""

    def add_endpoint(
        self, document: object, *, url: CheckedUrl | None, merchant: str | None = None
    ) -> Document:
        """Add an endpoint of {url, events, legacy_v0}; return {endpoint, secret, …}.

        ``url``: what :func:`endpoint_url` said of the document. ``merchant``: whose, for an operator.
        """
        given = fields_of(document, "url", "events", "legacy_v0", required=("url",))
        whose = self.merchant or merchant
        if whose is None or url is None:
            raise Refused("validation", errors=[{"field": "merchant", "message": "is missing"}])
        merchants.find(self.connection, whose, lock=True)  # two at once do not both take the last place
        events, legacy_v0 = _subscription(given.get("events"), given.get("legacy_v0"))
        added, secret = endpoints.create(
            self.connection,
            merchant=whose,
            url=url,
            events=DEFAULT_EVENTS if events is None else events,
            legacy_v0=bool(legacy_v0),
            vault=self.sealing_vault,
            now=self.now,
        )
        return _with_secret(added, secret, previous_until=None)

    def endpoint(self, endpoint_id: str) -> Document:
        """Return one endpoint."""
        found = endpoints.get(self.connection, endpoint_id, merchant=self.merchant)
        return endpoints.endpoint_json(found)

    def endpoints(
        self, *, merchant: str | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> Document:
        """Return a page of endpoints, newest first."""
        self.check_cursor(cursor, endpoint.c.id, endpoint.c.merchant, self.merchant or merchant)
        rows, following = endpoints.list_endpoints(
            self.connection, merchant=self.merchant or merchant, limit=limit, cursor=cursor
        )
        return {"data": [endpoints.endpoint_json(row) for row in rows], "next_cursor": following}

    def change_endpoint(
        self, endpoint_id: str, document: object, *, url: CheckedUrl | None = None
    ) -> Document:
        """Change what is given of {url, events, legacy_v0, status} and return the endpoint.

        ``status`` ``disabled`` holds its deliveries back, ``enabled`` sends them.
        """
        given = fields_of(document, "url", "events", "legacy_v0", "status")
        events, legacy_v0 = _subscription(given.get("events"), given.get("legacy_v0"))
        status = given.get("status")
        if status is not None and status not in (EndpointStatus.ENABLED, EndpointStatus.DISABLED):
            message = f"{fields.quote(status)} is unknown; write enabled or disabled"
            raise Refused("validation", errors=[{"field": "status", "message": message}])
        whose: dict[str, Any] = {"merchant": self.merchant}
        endpoints.modify(self.connection, endpoint_id, url=url, events=events, legacy_v0=legacy_v0, **whose)
        if status == EndpointStatus.ENABLED:
            endpoints.enable(self.connection, endpoint_id, now=self.shared_now, **whose)
        elif status == EndpointStatus.DISABLED:
            endpoints.disable(self.connection, endpoint_id, **whose)
        return self.endpoint(endpoint_id)

    def remove_endpoint(self, endpoint_id: str, document: object = None) -> Document:
        """Remove an endpoint; what was not delivered to it is dead."""
        fields_of(document)
        endpoints.remove(self.connection, endpoint_id, merchant=self.merchant)
        return {"id": endpoint_id, "removed": True}

    def rotate_endpoint_secret(self, endpoint_id: str, document: object = None) -> Document:
        """Give an endpoint a fresh secret; the old one signs too for ``overlap``.

        Return {endpoint, secret, previous_secret_expires_at}; the time is null when the old one ended at once.
        """
        given = fields_of(document, "overlap")
        overlap = read("overlap", _read_overlap, given.get("overlap"))
        found, secret = endpoints.rotate_secret(
            self.connection,
            endpoint_id,
            merchant=self.merchant,
            overlap=overlap,
            vault=self.sealing_vault,
            now=self.now,
        )
        return _with_secret(found, secret, previous_until=self.now + overlap if overlap > 0 else None)

    def test_endpoint(self, endpoint_id: str, document: object = None) -> Document:
        """Queue a ``webhook.test`` event; return the ids of the {event, delivery}."""
        fields_of(document)
        event, delivery = endpoints.send_test(
            self.connection, endpoint_id, merchant=self.merchant, now=self.shared_now
        )
        return {"event": event, "delivery": delivery}

    def recover_endpoint(self, endpoint_id: str, document: object = None) -> Document:
        """Make all dead deliveries of an endpoint due at once.

        Return {endpoint, recovered, complete}: of very many the rest follows in the background.
        """
        fields_of(document)
        count = deliveries.recover(self.connection, endpoint_id, merchant=self.merchant, now=self.shared_now)
        return {"endpoint": endpoint_id, "recovered": count, "complete": self._is_complete(endpoint_id)}

    def replay_endpoint(self, endpoint_id: str, document: object) -> Document:
        """Send an endpoint everything it subscribes to again, ``since`` a time, except what is on its way to it.

        Return {endpoint, replayed, complete}: of very many the rest follows in the background.
        """
        given = fields_of(document, "since", required=("since",))
        since = read("since", fields.read_time, given["since"])
        count = deliveries.replay(
            self.connection, endpoint_id, since=since, merchant=self.merchant, now=self.shared_now
        )
        return {"endpoint": endpoint_id, "replayed": count, "complete": self._is_complete(endpoint_id)}

    def deliveries(
        self,
        *,
        merchant: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        status: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Document:
        """Return a page of deliveries, newest first, without their logs."""
        self.check_cursor(cursor, delivery.c.id, delivery.c.merchant, self.merchant or merchant)
        rows, following = deliveries.list_deliveries(
            self.connection,
            merchant=self.merchant or merchant,
            endpoint=endpoint,
            event=event,
            status=None if status is None else DeliveryStatus(status),
            limit=limit,
            cursor=cursor,
        )
        return {"data": self._with_merchants(rows), "next_cursor": following}

    def delivery(self, delivery_id: str) -> Document:
        """Return one delivery with the log of its attempts."""
        [found] = self._with_merchants(
            [deliveries.show(self.connection, delivery_id, merchant=self.merchant)]
        )
        return found

    def retry_delivery(self, delivery_id: str, document: object = None) -> Document:
        """Make a pending or dead delivery due at once, and return it."""
        fields_of(document)
        deliveries.retry(self.connection, delivery_id, merchant=self.merchant, now=self.shared_now)
        return self.delivery(delivery_id)

    def dismiss_delivery(self, delivery_id: str, document: object = None) -> Document:
        """Take a dead delivery out of the count of those that a person has to look at, and return it."""
        fields_of(document)
        deliveries.dismiss(self.connection, delivery_id, merchant=self.merchant, now=self.now)
        return self.delivery(delivery_id)

    def events(
        self,
        *,
        merchant: str | None = None,
        type: EventType | None = None,  # noqa: A002 - it is called so
        intent: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Document:
        """Return a page of events, newest first."""
        self.check_cursor(cursor, event.c.id, event.c.merchant, self.merchant or merchant)
        rows, following = outbox.list_events(
            self.connection,
            merchant=self.merchant or merchant,
            type=type,
            intent=intent,
            limit=limit,
            cursor=cursor,
        )
        return {"data": [outbox.event_json(row) for row in rows], "next_cursor": following}

    def events_after(
        self, after: str | None, *, endpoint: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> Document:
        """Return what a merchant was told after an event, oldest first, for merchants who would rather pull.

        Each row holds the ``body`` as text, byte for byte as it is sent (null once retention emptied it), and
        ``headers``: with ``endpoint`` signed afresh with that endpoint's secrets, so that the same verifier takes it.
        ``next_cursor`` is the last event's id: what to ask for next, also when nothing more is there yet.
        """
        if self.merchant is None:
            raise Refused("validation", errors=[{"field": "after", "message": "is for a merchant's own key"}])
        secrets: Sequence[str] = ()
        if endpoint is not None:
            secrets = endpoints.secrets(
                self.connection, endpoint, merchant=self.merchant, vault=self.vault, now=self.now
            )
        rows = outbox.events_after(self.connection, after, merchant=self.merchant, limit=limit)
        data = [self._signed(row, secrets) for row in rows]
        return {"data": data, "next_cursor": rows[-1].id if rows else after}

    def event(self, event_id: str) -> Document:
        """Return one event, as it was told."""
        return outbox.event_json(outbox.get_event(self.connection, event_id, merchant=self.merchant))

    def redeliver_event(self, event_id: str, document: object = None) -> Document:
        """Send an event again, to one ``endpoint`` or to all that got it; return the ids of the deliveries."""
        given = fields_of(document, "endpoint")
        endpoint = given.get("endpoint")
        if endpoint is not None and not isinstance(endpoint, str):
            raise Refused("validation", errors=[{"field": "endpoint", "message": "must be an endpoint's id"}])
        made = deliveries.redeliver(
            self.connection, event_id, endpoint_id=endpoint, merchant=self.merchant, now=self.shared_now
        )
        return {"event": event_id, "deliveries": made}

    def _is_complete(self, endpoint_id: str) -> bool:
        return not bulk.unfinished(self.connection, endpoint_id=endpoint_id)

    def _with_merchants(self, rows: Sequence[Document]) -> list[Document]:
        """Return deliveries with the merchants whose they are."""
        query = select(delivery.c.id, delivery.c.merchant).where(
            delivery.c.id.in_([row["id"] for row in rows])
        )
        whose = {row.id: row.merchant for row in self.connection.execute(query)}
        return [{"id": row["id"], "merchant": whose[row["id"]]} | row for row in rows]

    def _signed(self, row: outbox.EventRow, secrets: Sequence[str]) -> Document:
        headers = {"webhook-id": row.id}
        if secrets and row.body:
            headers = signing.signature_headers(
                id=row.id, timestamp=int(self.now), body=row.body, secrets=secrets
            )
        body = row.body.decode() if row.body else None
        return {"id": row.id, "type": row.type.value, "body": body, "headers": headers}


def _with_secret(found: endpoints.Endpoint, secret: str, *, previous_until: float | None) -> Document:
    return {
        "endpoint": endpoints.endpoint_json(found),
        "secret": secret,
        "previous_secret_expires_at": None if previous_until is None else rfc3339(previous_until),
    }


def _subscription(events: object, legacy_v0: object) -> tuple[list[str] | None, bool | None]:
    """Read what an endpoint gets and how, None for what is not given."""
    problems = Problems()
    if events is not None and not (isinstance(events, list) and all(isinstance(e, str) for e in events)):
        problems.add("events", 'must be a list of names, e.g. ["payment.succeeded"]')
    if legacy_v0 is not None and not isinstance(legacy_v0, bool):
        problems.add("legacy_v0", "must be true or false")
    problems.check()
    names = [str(name) for name in events] if isinstance(events, list) else None
    return names, legacy_v0 if isinstance(legacy_v0, bool) else None


def _read_overlap(value: object) -> float:
    seconds = DEFAULT_OVERLAP if value is None else parse_duration(value)
    if seconds > MAX_OVERLAP:
        raise ValueError(f"{fields.quote(value)} is more than 7d")
    return seconds
