"""One caller's view of everything, in one open transaction: what the command line and the HTTP API do, as
JSON documents.

The documents are those of the public interface. A merchant sees and changes only their own; an operator
(``merchant`` None) sees all. Nothing is committed here: that is for the code that opened the transaction.

Raises :class:`watcher.errors.Refused`, :class:`watcher.errors.NotFound` and the errors of
:mod:`notifier.errors`.
"""

from collections.abc import Sequence

from watcher.services import statistics
from watcher.services import status as status_service
from watcher.services.context import Document
from watcher.services.dashboard_sessions import DashboardService
from watcher.services.delivery_queue import DeliveryQueueService
from watcher.services.export import ExportService
from watcher.services.merchants import MerchantService
from watcher.services.payment_links import PaymentLinkService
from watcher.services.processes import ProcessService
from watcher.services.refunds import RefundService
from watcher.services.status_reasons import Reason
from watcher.services.webhooks import WebhookService


class Services(
    RefundService,
    PaymentLinkService,
    ExportService,
    WebhookService,
    DeliveryQueueService,
    MerchantService,
    DashboardService,
    ProcessService,
):
    """Everything that can be asked for."""

    def status(self, *, known: Sequence[Reason] = ()) -> Document:
        """Return how the daemon stands: for a merchant as far as it concerns them.

        ``known``: what this process knows to be wrong and the database does not.
        """
        return status_service.document(
            self.connection, self.settings, now=self.now, merchant=self.merchant, known=known
        )

    def statistics(self) -> Document:
        """Return what was paid, what needs a person and how webhooks do, see
        :func:`watcher.services.statistics.document`.
        """
        return statistics.document(
            self.connection, now=self.now, shared_now=self.shared_now, merchant=self.merchant
        )


__all__ = ["Services"]
