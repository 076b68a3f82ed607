"""One caller's view of everything, in one open transaction: what the command line and the HTTP API do, as JSON documents.

The documents are those of the public interface. A caller who is a merchant sees and changes only what is his; an
operator (``merchant`` None) sees all. Nothing is committed here: whoever opened the transaction does it.

Raises :class:`watcher.errors.Refused`, :class:`watcher.errors.NotFound` and the errors of :mod:`notifier.errors`.
"""

from collections.abc import Sequence

from watcher import standing
from watcher.desk.base import Document
from watcher.desk.merchants import MerchantDesk
from watcher.desk.money import MoneyDesk
from watcher.desk.webhooks import WebhookDesk
from watcher.reasons import Reason


class Desk(MoneyDesk, WebhookDesk, MerchantDesk):
    """Everything that can be asked for."""

    def status(self, *, known: Sequence[Reason] = ()) -> Document:
        """Return how the daemon stands: for a merchant as far as it concerns them.

        ``known``: what this process knows to be wrong and the database does not.
        """
        return standing.document(
            self.connection, self.settings, now=self.now, merchant=self.merchant, known=known
        )


__all__ = ["Desk"]
