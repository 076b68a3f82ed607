"""Services for webhooks: endpoints, events and their deliveries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from notifier import bulk, deliveries, endpoints, event_log, outbox, signing
from notifier.errors import NotPossible
from notifier.events import DEFAULT_EVENTS, EventType, rfc3339
from notifier.ids import new_id
from notifier.schema import DeliveryStatus, delivery, endpoint, event
from notifier.ssrf import CheckedUrl, check_url
from watcher.config.settings import Settings
from watcher.errors import Refused
from watcher.schemas import (
    ChangeEndpoint,
    DeliveryFilters,
    EventFilters,
    NewEndpoint,
    OwnedPage,
    Redeliver,
    Replay,
    RotateSecret,
    SendTest,
)
from watcher.services import merchants, queries
from watcher.services.context import Context, Document
from watcher.services.samples import Sample


def endpoint_url(settings: Settings, url: str | None) -> CheckedUrl | None:
    """Look up where an endpoint's URL leads, None for none; call it before the transaction.

    Blocks for a DNS look-up. Raises :class:`notifier.errors.RefusedUrl`.
    """
    if url is None:
        return None
    return check_url(
        url, allow_http=settings.webhook_allow_http, allow_private=settings.webhook_allow_private
    )


class WebhookService(Context):
    """Endpoints, events and deliveries."""

    def add_endpoint(self, request: NewEndpoint, *, url: CheckedUrl) -> Document:
        """Add an endpoint; return {endpoint, secret, …}. ``url``: what :func:`endpoint_url` said of the
        request's.
        """
        merchant = self.owner(request.merchant)
        merchants.find(self.connection, merchant, lock=True)  # two at once do not both take the last place
        added, secret = endpoints.create(
            self.connection,
            merchant=merchant,
            url=url,
            events=DEFAULT_EVENTS if request.events is None else request.events,
            legacy_v0=bool(request.legacy_v0),
            secret_store=self.encrypting_store,
            now=self.now,
        )
        return _with_secret(added, secret, previous_until=None)

    def endpoint(self, endpoint_id: str) -> Document:
        """Return one endpoint."""
        found = endpoints.get(self.connection, endpoint_id, merchant=self.merchant)
        return endpoints.endpoint_json(found)

    def endpoints(self, page: OwnedPage) -> Document:
        """Return a page of endpoints, newest first."""
        merchant = self.read_page(page, endpoint.c.id, endpoint.c.merchant)
        rows, following = endpoints.list_endpoints(
            self.connection, merchant=merchant, limit=page.limit, cursor=page.cursor
        )
        return {"data": [endpoints.endpoint_json(row) for row in rows], "next_cursor": following}

    def change_endpoint(
        self, endpoint_id: str, request: ChangeEndpoint, *, url: CheckedUrl | None = None
    ) -> Document:
        """Change what is given of an endpoint and return it.

        ``status`` ``disabled`` holds its deliveries back, ``enabled`` sends them.
        """
        owner: dict[str, Any] = {"merchant": self.merchant}
        endpoints.modify(
            self.connection,
            endpoint_id,
            url=url,
            events=request.events,
            legacy_v0=request.legacy_v0,
            **owner,
        )
        if request.status == "enabled":
            endpoints.enable(self.connection, endpoint_id, now=self.shared_now, **owner)
        elif request.status == "disabled":
            endpoints.disable(self.connection, endpoint_id, **owner)
        return self.endpoint(endpoint_id)

    def remove_endpoint(self, endpoint_id: str) -> Document:
        """Remove an endpoint; what was not delivered to it is dead."""
        endpoints.remove(self.connection, endpoint_id, merchant=self.merchant)
        return {"id": endpoint_id, "removed": True}

    def rotate_endpoint_secret(self, endpoint_id: str, request: RotateSecret) -> Document:
        """Give an endpoint a fresh secret; the old one signs too for ``overlap``.

        Return {endpoint, secret, previous_secret_expires_at}; the time is null when the old one ended at
        once.
        """
        overlap = endpoints.DEFAULT_OVERLAP_SECONDS if request.overlap is None else request.overlap
        found, secret = endpoints.rotate_secret(
            self.connection,
            endpoint_id,
            merchant=self.merchant,
            overlap=overlap,
            secret_store=self.encrypting_store,
            now=self.now,
        )
        return _with_secret(found, secret, previous_until=self.now + overlap if overlap > 0 else None)

    def test_endpoint(self, endpoint_id: str, request: SendTest) -> Document:
        """Queue a test event of a type; return the ids of the {event, delivery}.

        It says nothing that could be taken for money: an intent that does not exist, or one given, as its
        own newest event of that type showed it. Raises :class:`NotPossible` where it has none.
        """
        found = endpoints.get(self.connection, endpoint_id, merchant=self.merchant)
        event, delivery = endpoints.send_test(
            self.connection,
            endpoint_id,
            merchant=self.merchant,
            type=request.type,
            data=self._sample(found.merchant, request),
            now=self.shared_now,
        )
        return {"event": event, "delivery": delivery}

    def _sample(self, merchant: str, request: SendTest) -> Document | None:
        """Return the ``data`` of a sample, None for ``webhook.test``."""
        if request.intent is not None:
            return self._told(merchant, request.intent, request.type)
        if request.type is EventType.TEST:
            return None
        assets = self.settings.assets
        sample = Sample(
            seed=new_id("", self.now),
            merchant=merchant,
            recipient=merchants.find(self.connection, merchant)["recipient"],
            asset=assets.get("sbtc") or next(iter(assets.values())),
            server_info=self.settings.server_info,
            now=int(self.now),
        )
        return sample.data(request.type)

    def _told(self, merchant: str, intent_id: str, kind: EventType) -> Document:
        """Return the ``data`` of an intent's newest event of a type."""
        if kind is EventType.TEST:
            message = "goes only with a type that is about a payment"
            raise Refused("validation", errors=[{"field": "intent", "message": message}])
        shown = queries.intent(
            self.connection, intent_id, server_info=self.settings.server_info, merchant=merchant
        )
        found = event_log.newest_event(self.connection, intent_id, kind)
        data: Document | None = None if found is None else event_log.event_json(found)["data"]
        if data is None:
            raise NotPossible(
                f"intent {intent_id} is {shown['status']} and has no {kind} to show; leave the intent out"
            )
        return data

    def recover_endpoint(self, endpoint_id: str) -> Document:
        """Make all dead deliveries of an endpoint due at once.

        Return {endpoint, recovered, complete}: of very many the rest follows in the background.
        """
        count = deliveries.recover(self.connection, endpoint_id, merchant=self.merchant, now=self.shared_now)
        return {"endpoint": endpoint_id, "recovered": count, "complete": self._is_complete(endpoint_id)}

    def replay_endpoint(self, endpoint_id: str, request: Replay) -> Document:
        """Send an endpoint everything it subscribes to again, ``since`` a time, except what is on its way to
        it.

        Return {endpoint, replayed, complete}: of very many the rest follows in the background.
        """
        count = deliveries.replay(
            self.connection, endpoint_id, since=request.since, merchant=self.merchant, now=self.shared_now
        )
        return {"endpoint": endpoint_id, "replayed": count, "complete": self._is_complete(endpoint_id)}

    def deliveries(self, filters: DeliveryFilters) -> Document:
        """Return a page of deliveries, newest first, without their logs."""
        merchant = self.read_page(filters, delivery.c.id, delivery.c.merchant)
        rows, following = deliveries.list_deliveries(
            self.connection,
            merchant=merchant,
            endpoint=filters.endpoint,
            event=filters.event,
            type=filters.type,
            created_from=filters.created_from,
            created_to=filters.created_to,
            status=None if filters.status is None else DeliveryStatus(filters.status),
            limit=filters.limit,
            cursor=filters.cursor,
        )
        return {"data": self._with_merchants(rows), "next_cursor": following}

    def delivery(self, delivery_id: str) -> Document:
        """Return one delivery with the log of its attempts."""
        [found] = self._with_merchants(
            [deliveries.show(self.connection, delivery_id, merchant=self.merchant)]
        )
        return found

    def retry_delivery(self, delivery_id: str) -> Document:
        """Make a pending or dead delivery due at once, and return it."""
        deliveries.retry(self.connection, delivery_id, merchant=self.merchant, now=self.shared_now)
        return self.delivery(delivery_id)

    def dismiss_delivery(self, delivery_id: str) -> Document:
        """Take a dead delivery out of the count of those that a person has to look at, and return it."""
        deliveries.dismiss(self.connection, delivery_id, merchant=self.merchant, now=self.now)
        return self.delivery(delivery_id)

    def events(self, filters: EventFilters) -> Document:
        """Return a page of events, newest first; with ``after`` what a merchant pulls, see :meth:`_pull`."""
        _check_together(filters)
        merchant = self.read_page(filters, event.c.id, event.c.merchant)
        if filters.after is not None:
            return self._pull(filters)
        rows, following = event_log.list_events(
            self.connection,
            merchant=merchant,
            type=filters.type,
            intent=filters.intent,
            test=filters.test,
            limit=filters.limit,
            cursor=filters.cursor,
        )
        return {"data": [event_log.event_json(row) for row in rows], "next_cursor": following}

    def _pull(self, filters: EventFilters) -> Document:
        """Return what a merchant was sent after an event, oldest first, for merchants who would rather pull.

        Each row holds the ``body`` as text, byte for byte as it is sent (null once retention emptied it), and
        ``headers``: with ``endpoint`` signed afresh with that endpoint's secrets, so that the same verifier
        takes it. ``next_cursor`` is the last event's id: what to ask for next, also when nothing more is
        there yet.
        """
        if self.merchant is None:
            raise Refused("validation", errors=[{"field": "after", "message": "is for a merchant's own key"}])
        secrets: Sequence[str] = ()
        if filters.endpoint is not None:
            secrets = endpoints.secrets(
                self.connection,
                filters.endpoint,
                merchant=self.merchant,
                secret_store=self.secret_store,
                now=self.now,
            )
        after = filters.after or None
        rows = event_log.events_after(self.connection, after, merchant=self.merchant, limit=filters.limit)
        data = [self._signed(row, secrets) for row in rows]
        return {"data": data, "next_cursor": rows[-1].id if rows else after}

    def event(self, event_id: str) -> Document:
        """Return one event, as it was sent."""
        return event_log.event_json(event_log.get_event(self.connection, event_id, merchant=self.merchant))

    def redeliver_event(self, event_id: str, request: Redeliver) -> Document:
        """Send an event again, to one ``endpoint`` or to all that got it; return the deliveries' ids."""
        made = deliveries.redeliver(
            self.connection,
            event_id,
            endpoint_id=request.endpoint,
            merchant=self.merchant,
            now=self.shared_now,
        )
        return {"event": event_id, "deliveries": made}

    def _is_complete(self, endpoint_id: str) -> bool:
        return not bulk.running_changes(self.connection, endpoint_id=endpoint_id)

    def _with_merchants(self, rows: Sequence[Document]) -> list[Document]:
        """Add the merchant to each delivery."""
        query = select(delivery.c.id, delivery.c.merchant).where(
            delivery.c.id.in_([row["id"] for row in rows])
        )
        merchants_by_id = {row.id: row.merchant for row in self.connection.execute(query)}
        return [{"id": row["id"], "merchant": merchants_by_id[row["id"]]} | row for row in rows]

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


def _check_together(filters: EventFilters) -> None:
    """Refuse parameters that do not go together."""
    if filters.after is None:
        wrong, message = {"endpoint"}, "goes only with after"
    else:
        wrong, message = {"type", "intent", "test", "cursor", "merchant"}, "does not go with after"
    given = [name for name in type(filters).model_fields if name in wrong & filters.model_fields_set]
    if given:
        raise Refused("validation", errors=[{"field": name, "message": message} for name in given])
