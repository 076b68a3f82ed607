"""Giving money back: what is due, to whom, and the call for the merchant's own wallet, which alone can do it.

The chain proves a refund only where the payment contract makes it. A plain transfer is for the merchant to
note: they dismiss what is due, with its transaction as the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from contracts.model import Route
from contracts.refund_call import plain_refund, refund_call
from contracts.wallet_call import wallet_call
from notifier.events import rfc3339
from watcher.domain import refunds
from watcher.domain.model import Facts, Flag, Intent
from watcher.domain.refunds import Debt
from watcher.errors import Problems, Refused
from watcher.schemas import GiveBack, PaymentIntentFilters, RefundsDue
from watcher.services import queries
from watcher.services.context import Document
from watcher.services.operator_actions import OperatorActionService, decision_of
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import intent as intent_table
from watcher.store.schema import transfer

#: Transfers and attempts of a payment up to which a list says how much of it is due: strangers can add any
#: number.
MAX_FACTS: Final = 1_000

_SHOWN = ("id", "merchant", "status", "reference", "description", "asset", "asset_identifier")


class RefundService(OperatorActionService):
    """What is to be given back, and how."""

    def refunds_due(self, filters: RefundsDue) -> Document:
        """Return a page of payments of which a refund is due, newest first, each with what is due to whom.

        ``due`` is null of a payment with very many transfers, of which :meth:`refund_help` tells it.
        """
        merchant = self.read_page(filters, intent_table.c.id, intent_table.c.merchant_id)
        asked = PaymentIntentFilters(flag=Flag.REFUND_DUE, limit=filters.limit, cursor=filters.cursor)
        rows, following = queries.intent_rows(self.connection, asked, merchant=merchant)
        counts = transfer_store.count_facts(self.connection, [row["id"] for row in rows])
        data = [self._due(row, known=counts[row["id"]] <= MAX_FACTS) for row in rows]
        return {"data": data, "next_cursor": following}

    def refund_help(self, intent_id: str, request: GiveBack) -> Document:
        """Return how to give money of an intent back: the ways, each with its call for a wallet.

        Without a request the ways are what is due to each sender, else all that came, to the one who paid.
        ``recognized``: the payment contract makes it, so that the chain proves it. ``to`` and ``call`` are
        null of a peg-in, whose sender the chain does not show. Raises :class:`NotFound`, :class:`Refused`.
        """
        intent = self._find_intent(intent_id)
        facts = transfer_store.load_facts(self.connection, [intent.id])[intent.id]
        decision = decision_of(self.connection, intent, facts, queries.chain_clock(self.connection))
        left = max(0, decision.received - decision.refunded)
        self._check(request, left)
        receipt = self._receipt(intent, refunds.total(facts.refunds))
        debts = _debts(request, decision.owed, facts, left)
        return {
            "object": "refund_help",
            "payment_intent": intent.id,
            "recipient": intent.recipient,
            "due": str(decision.refund_due),
            "refundable": str(left),
            "ways": [self._way(intent, debt, receipt) for debt in debts],
        }

    def refund_call(self, intent_id: str, request: GiveBack, *, sender: str) -> Document:
        """Return what a wallet whose address is ``sender`` is asked to do, as a request of SIP-030.

        Raises :class:`NotFound`, :class:`Refused` (``nothing_due``, ``wrong_sender``, ``not_payable``).
        """
        self._check_principal("sender", sender)
        found = self.refund_help(intent_id, request)
        way = next((way for way in found["ways"] if way["call"] is not None), None)
        if way is None:
            raise Refused("nothing_due", f"nothing of intent {intent_id} can be given back to an address")
        if way["recognized"] and sender != found["recipient"]:
            raise Refused(
                "wrong_sender",
                f"the contract takes a refund from {found['recipient']} only",
                hint="choose that account in the wallet",
            )
        try:
            asked = wallet_call(way["call"], sender=sender, network=self.settings.network)
        except ValueError as error:
            raise Refused("not_payable", f"{error}; send it by hand") from None
        return {"object": "wallet_call"} | asked

    def _due(self, row: Mapping[Any, Any], *, known: bool) -> Document:
        intent, state = intent_store.read_intent(row), intent_store.read_state(row)
        shown = {name: getattr(intent, name) for name in _SHOWN} | {
            "object": "refund_due",
            "flags": sorted(state.flags),
            "amount": str(intent.amount),
            "amount_received": str(state.received),
            "created_at": rfc3339(intent.created_at),
            "due": None,
            "owed": [],
        }
        if not known:
            return shown
        facts = transfer_store.load_facts(self.connection, [intent.id])[intent.id]
        decision = decision_of(self.connection, intent, facts, queries.chain_clock(self.connection))
        owed = [{"to": debt.to, "amount": str(debt.amount)} for debt in decision.owed]
        return shown | {"due": str(decision.refund_due), "owed": owed}

    def _check(self, request: GiveBack, left: int) -> None:
        if request.to is not None:
            self._check_principal("to", request.to)
        if request.amount is not None and request.amount > left:
            message = f"{request.amount} is more than the {left} that came and did not go back"
            raise Refused("validation", errors=[{"field": "amount", "message": message}])

    def _check_principal(self, field: str, text: str) -> None:
        problems = Problems()
        problems.read(field, self.settings.network_facts.parse_principal, text, None)
        problems.check()

    def _receipt(self, intent: Intent, refunded: int) -> Debt | None:
        """Return what the payment contract still lets the merchant give back, and to whom; None without a
        receipt.
        """
        if self.settings.payment_contract is None:
            return None
        query = select(transfer.c.sender, transfer.c.amount).where(
            transfer.c.intent_id == intent.id, transfer.c.canonical, transfer.c.route == Route.CONTRACT
        )
        row = self.connection.execute(query.limit(1)).one_or_none()
        return None if row is None else Debt(to=row.sender, amount=max(0, row.amount - refunded))

    def _way(self, intent: Intent, debt: Debt, receipt: Debt | None) -> Document:
        contract = self.settings.payment_contract
        fits = receipt is not None and receipt.to == debt.to and debt.amount <= receipt.amount
        call = None
        if fits and contract is not None:
            call = refund_call(
                contract_id=contract,
                terms_hash=intent.terms_hash,
                amount=debt.amount,
                asset=intent.asset_identifier,
            )
        elif debt.to is not None:
            call = plain_refund(
                amount=debt.amount, to=debt.to, reference=intent.reference, asset=intent.asset_identifier
            )
        return {"to": debt.to, "amount": str(debt.amount), "recognized": fits, "call": call}


def _debts(request: GiveBack, owed: Sequence[Debt], facts: Facts, left: int) -> Sequence[Debt]:
    """Return what goes to whom: as asked for, else what is due, else all that came, to the one who paid."""
    if request == GiveBack() and owed:
        return owed
    to = request.to
    if to is None:
        came = [inclusion for inclusion in facts.inclusions if inclusion.canonical]
        # The one that most came from: dust comes from anybody.
        sent = sorted(refunds.owed(came, facts.refunds, left), key=lambda debt: debt.amount)
        to = sent[-1].to if sent else None
    amount = request.amount or left
    return (Debt(to=to, amount=amount),) if amount else ()
