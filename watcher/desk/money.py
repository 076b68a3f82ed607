"""The desk for money: intents, and transfers that belong to none."""

from collections.abc import Mapping, Sequence
from typing import Any

from watcher import acts, intake, queries
from watcher.desk.base import Base, Document, fields_of
from watcher.errors import Refused
from watcher.intents import Flag, Status
from watcher.tables import intent, transfer

#: Intents that are created in one transaction, at most: it holds the write lock for about 200 ms then.
MAX_BULK = 500


class MoneyDesk(Base):
    """Intents and transfers."""

    def create_intent(self, document: object, *, merchant: str | None = None) -> Document:
        """Create an intent and return it. ``merchant``: whose, for an operator."""
        return self.intent(self._create(document, merchant))

    def create_intents(self, documents: object, *, merchant: str | None = None) -> Document:
        """Create up to :data:`MAX_BULK` intents, all or none; return them as ``{data}``, in the order given.

        Raises :class:`Refused` with everything that is wrong; fields are named ``intents.3.amount``, counted from 0.
        """
        if not isinstance(documents, Sequence) or isinstance(documents, str | bytes):
            raise Refused("validation", errors=[{"field": "intents", "message": "must be a list of intents"}])
        if not 0 < len(documents) <= MAX_BULK:
            message = f"holds {len(documents)} intents; send 1 to {MAX_BULK}"
            raise Refused("validation", errors=[{"field": "intents", "message": message}])
        requests: dict[int, intake.IntentRequest] = {}
        refusals: dict[int, Refused] = {}
        for number, document in enumerate(documents):
            try:
                requests[number] = intake.IntentRequest.of(document)
            except Refused as refused:
                refusals[number] = refused
        made = intake.create_many(self.connection, list(requests.values()), **self._for(merchant))
        refusals |= {n: one for n, one in zip(requests, made, strict=True) if isinstance(one, Refused)}
        if refusals:
            errors = [error for number in sorted(refusals) for error in _numbered(number, refusals[number])]
            raise Refused("validation", errors=errors)
        ids = [str(intent_id) for intent_id in made]
        return {"data": queries.intents_by_id(self.connection, ids, payment_contract=self._contract)}

    def intent(self, intent_id: str) -> Document:
        """Return one intent."""
        return queries.intent(
            self.connection, intent_id, payment_contract=self._contract, merchant=self.merchant
        )

    def intents(
        self,
        *,
        merchant: str | None = None,
        status: Status | None = None,
        flag: Flag | None = None,
        attention: bool = False,
        reference: str | None = None,
        created_from: float | None = None,
        created_to: float | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = queries.DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Document:
        """Return a page of intents, newest first; see :func:`watcher.queries.intents`."""
        self.check_cursor(cursor, intent.c.id, intent.c.merchant_id, self.merchant or merchant)
        return queries.intents(
            self.connection,
            payment_contract=self._contract,
            merchant=self.merchant or merchant,
            status=status,
            flag=flag,
            attention=attention,
            reference=reference,
            created_from=created_from,
            created_to=created_to,
            metadata=metadata,
            limit=limit,
            cursor=cursor,
        )

    def cancel_intent(self, intent_id: str, document: object = None) -> Document:
        """Cancel a pending intent for a ``reason`` (optional) and return it."""
        given = fields_of(document, "reason")
        reason = given.get("reason")
        acts.cancel(
            self.connection, intent_id, reason="canceled" if reason is None else reason, **self._by_whom()
        )
        return self.intent(intent_id)

    def mark_intent(self, intent_id: str, document: object) -> Document:
        """Declare an intent ``status`` (succeeded or failed) for a ``reason`` and return it."""
        given = fields_of(document, "status", "reason", required=("status", "reason"))
        acts.mark(
            self.connection, intent_id, status=given["status"], reason=given["reason"], **self._by_whom()
        )
        return self.intent(intent_id)

    def dismiss_intent(self, intent_id: str, document: object) -> Document:
        """Dismiss what is due of an ended intent for a ``reason`` and return it."""
        given = fields_of(document, "reason", required=("reason",))
        acts.dismiss(self.connection, intent_id, reason=given["reason"], **self._by_whom())
        return self.intent(intent_id)

    def transfers(
        self,
        *,
        merchant: str | None = None,
        unmatched: bool = False,
        limit: int = queries.DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Document:
        """Return a page of transfers, newest first."""
        self.check_cursor(cursor, transfer.c.id, transfer.c.merchant_id, self.merchant or merchant)
        return queries.transfers(
            self.connection,
            merchant=self.merchant or merchant,
            unmatched=unmatched,
            limit=limit,
            cursor=cursor,
        )

    def transfer(self, transfer_id: str) -> Document:
        """Return one transfer."""
        return queries.transfer(self.connection, transfer_id, merchant=self.merchant)

    def assign_transfer(self, transfer_id: str, document: object) -> Document:
        """Give unmatched money to an ``intent`` for a ``reason``, and return the transfer."""
        given = fields_of(document, "intent", "reason", required=("intent", "reason"))
        intent = given["intent"]
        if not isinstance(intent, str):
            raise Refused("validation", errors=[{"field": "intent", "message": "must be an intent's id"}])
        acts.assign(self.connection, transfer_id, intent, reason=given["reason"], **self._by_whom())
        return self.transfer(transfer_id)

    @property
    def _contract(self) -> str | None:
        return self.settings.payment_contract

    def _create(self, document: object, merchant: str | None) -> str:
        request = intake.IntentRequest.of(document)
        return intake.create(self.connection, request, **self._for(merchant))

    def _for(self, merchant: str | None) -> dict[str, Any]:
        whose = self.merchant or merchant
        if whose is None:
            raise Refused("validation", errors=[{"field": "merchant", "message": "is missing"}])
        return {
            "merchant_id": whose,
            "settings": self.settings,
            "books": self.books,
            "now": self.now,
        }

    def _by_whom(self) -> dict[str, Any]:
        return {"actor": self.actor, "books": self.books, "now": self.now, "merchant": self.merchant}


def _numbered(number: int, refused: Refused) -> list[Mapping[str, str]]:
    """Return what is wrong with one of many."""
    if not refused.errors:
        return [{"field": f"intents.{number}", "message": str(refused)}]
    return [{"field": f"intents.{number}.{e['field']}", "message": e["message"]} for e in refused.errors]
