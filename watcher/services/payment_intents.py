"""Services for payment intents and transfers."""

from collections.abc import Mapping, Sequence

from watcher.errors import Refused
from watcher.schemas import (
    NewPaymentIntent,
    NewPaymentIntents,
    PaymentIntentFilters,
    TransferFilters,
)
from watcher.services import intent_requests, queries
from watcher.services.context import Context, Document
from watcher.store.schema import intent, transfer


class PaymentIntentService(Context):
    """Intents and transfers."""

    def create_intent(self, request: NewPaymentIntent) -> Document:
        """Create an intent and return it."""
        [intent_id] = self._create(request.merchant, [request])
        if isinstance(intent_id, Refused):
            raise intent_id
        return self.intent(intent_id)

    def create_intents(self, request: NewPaymentIntents) -> Document:
        """Create intents, all or none; return them as ``{data}``, in the order given.

        Raises :class:`Refused` with everything that is wrong; fields are named ``intents.3.amount``, counted
        from 0.
        """
        for number, each in enumerate(request.intents):
            if each.merchant is not None:
                message = "stands once, beside intents"
                raise Refused(
                    "validation", errors=[{"field": f"intents.{number}.merchant", "message": message}]
                )
        made = self._create(request.merchant, request.intents)
        refusals = {number: one for number, one in enumerate(made) if isinstance(one, Refused)}
        if refusals:
            errors = [error for number in sorted(refusals) for error in _numbered(number, refusals[number])]
            raise Refused("validation", errors=errors)
        ids = [str(intent_id) for intent_id in made]
        return {"data": queries.intents_by_id(self.connection, ids, server_info=self.settings.server_info)}

    def intent(self, intent_id: str) -> Document:
        """Return one intent."""
        return queries.intent(
            self.connection, intent_id, server_info=self.settings.server_info, merchant=self.merchant
        )

    def intents(self, filters: PaymentIntentFilters) -> Document:
        """Return a page of intents, newest first."""
        merchant = self.read_page(filters, intent.c.id, intent.c.merchant_id)
        return queries.intents(
            self.connection, filters, server_info=self.settings.server_info, merchant=merchant
        )

    def transfers(self, filters: TransferFilters) -> Document:
        """Return a page of transfers, newest first."""
        merchant = self.read_page(filters, transfer.c.id, transfer.c.merchant_id)
        return queries.transfers(self.connection, filters, merchant=merchant)

    def transfer(self, transfer_id: str) -> Document:
        """Return one transfer."""
        return queries.transfer(self.connection, transfer_id, merchant=self.merchant)

    def _create(self, merchant: str | None, requests: Sequence[NewPaymentIntent]) -> Sequence[str | Refused]:
        return intent_requests.create_many(
            self.connection,
            requests,
            merchant_id=self.owner(merchant),
            settings=self.settings,
            settler=self.settler,
            now=self.now,
        )


def _numbered(number: int, refused: Refused) -> list[Mapping[str, str]]:
    """Return what is wrong with one of many."""
    if not refused.errors:
        return [{"field": f"intents.{number}", "message": str(refused)}]
    return [{"field": f"intents.{number}.{e['field']}", "message": e["message"]} for e in refused.errors]
