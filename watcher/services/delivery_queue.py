"""Services that show how webhooks go: the queue, the endpoints' performance, a request as it was sent."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from notifier import endpoints, event_log, performance, queue_state, signing
from notifier.errors import DecryptionFailed, NotFound
from notifier.performance import Performance
from notifier.queue_state import OpenCounts
from watcher import USER_AGENT
from watcher.schemas import QueueFilters
from watcher.services.context import Context, Document

#: Endpoints that the queue lists: as many as a merchant can have; of all merchants those in trouble first.
MAX_LISTED = endpoints.MAX_ENDPOINTS


class DeliveryQueueService(Context):
    """The queue of deliveries, and how the endpoints answer."""

    def queue(self, filters: QueueFilters) -> Document:
        """Return the deliveries by state, and each endpoint's performance in the last 24 hours."""
        if filters.merchant is not None:
            self.owner(filters.merchant)
        merchant, now = self.merchant or filters.merchant, self.shared_now
        counts = queue_state.open_counts(self.connection, merchant=merchant, now=now)
        listed = queue_state.listed_endpoints(self.connection, merchant=merchant, limit=MAX_LISTED)
        measured = performance.measure(self.connection, listed, now=now)
        together = sum(measured.values(), Performance())
        return {
            **sum(counts.values(), OpenCounts()).document(),
            "delivered_24h": together.count.succeeded,
            "dead_24h": queue_state.count_dead(self.connection, merchant=merchant, now=now),
            "oldest_seconds": queue_state.oldest_seconds(self.connection, merchant=merchant, now=now),
            **together.document(),
            "endpoints": [
                {"endpoint": id_, **counts.get(id_, OpenCounts()).document(), **found.document()}
                for id_, found in measured.items()
            ],
        }

    def endpoint_performance(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return how endpoints of the caller's answered in the last 24 hours, by their ids."""
        measured = performance.measure(self.connection, ids, now=self.shared_now)
        return {id_: found.document() for id_, found in measured.items()}

    def sent_request(self, delivery: Document) -> Document:
        """Return the request of a delivery, as :meth:`delivery` returned it: {method, url, headers, body}.

        The signatures are those of its newest attempt, or of one made now, by the secrets that are valid
        now: there are none where those cannot be read. ``body`` is null once retention emptied it, ``url``
        once the endpoint was removed.
        """
        row = event_log.get_event(self.connection, delivery["event"], merchant=self.merchant)
        log = delivery["log"]
        at = datetime.fromisoformat(log[-1]["at"]).timestamp() if log else self.now
        url, signatures = None, {"webhook-id": row.id}
        with suppress(NotFound, DecryptionFailed):
            found = endpoints.get(self.connection, delivery["endpoint"])
            url = found.url
            secrets = endpoints.secrets(
                self.connection, found.id, secret_store=self.secret_store, now=self.now
            )
            if row.body:
                signatures = signing.signature_headers(
                    id=row.id,
                    timestamp=int(at),
                    body=row.body,
                    secrets=secrets,
                    legacy_v0=found.legacy_v0,
                )
        headers = {"content-type": "application/json", "user-agent": USER_AGENT, **signatures}
        body = row.body.decode() if row.body else None
        return {"method": "POST", "url": url, "headers": headers, "body": body}
