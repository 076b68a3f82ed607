"""Intents and transfers."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watcher.client.methods import Method, PageMethod, PaginatedMethod, WorkflowMethod
from watcher.client.request import Listing, PageRequest, Request, Route, drop_none
from watcher.client.retry import Sleep
from watcher.client.types import Moment, Units, Workflow
from watcher.schemas import (
    Checkout,
    NewPaymentIntent,
    PaymentIntent,
    PaymentIntentList,
    PaymentIntentPage,
    Transfer,
    TransferPage,
)

#: How long the server is asked to hold one answer back, seconds; it allows 60.
MAX_WAIT_SECONDS = 30

#: An answer that comes sooner without news is followed by a pause, seconds.
MIN_WAIT_SECONDS = 1.0

#: In these, the chain or a person can still decide.
OPEN = ("pending", "processing")

_INTENTS = "/v1/payment_intents"
_INTENT = _INTENTS + "/{}"
_CHECKOUT = "/v1/checkout/{}"
_TRANSFERS = "/v1/transfers"
_TRANSFER = _TRANSFERS + "/{}"


class PaymentIntentMethods:
    """Intents and transfers."""

    @Method
    @staticmethod
    def create_intent(
        amount: Units,
        *,
        asset: str | None = None,
        recipient: str | None = None,
        reference: str | None = None,
        expires_in: str | int | None = None,
        expires_at: Moment | None = None,
        level: str | Mapping[str, int] | None = None,
        payer: str | None = None,
        match: str | None = None,
        tolerance: Units | None = None,
        late_policy: str | None = None,
        not_before: Moment | None = None,
        salt: str | None = None,
        metadata: Mapping[str, str] | None = None,
        description: str | None = None,
        success_url: str | None = None,
        cancel_url: str | None = None,
        fiat: str | Mapping[str, str] | None = None,
        merchant: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[PaymentIntent]:
        """Create an intent: what is owed, to whom, and until when; ``pay`` in it says how to pay.

        ``client.create_intent(50_000, reference="ORDER-7", expires_in="30m", metadata={"order_id": "7"})``
        """
        body = drop_none(
            amount=amount,
            asset=asset,
            recipient=recipient,
            reference=reference,
            expires_in=expires_in,
            expires_at=expires_at,
            level=level,
            payer=payer,
            match=match,
            tolerance=tolerance,
            late_policy=late_policy,
            not_before=not_before,
            salt=salt,
            metadata=metadata,
            description=description,
            success_url=success_url,
            cancel_url=cancel_url,
            fiat=fiat,
            merchant=merchant,
        )
        return Route("POST", _INTENTS, PaymentIntent).to(body=body, idempotency_key=idempotency_key)

    @Method
    @staticmethod
    def create_intents(
        intents: Sequence[NewPaymentIntent | Mapping[str, Any]],
        *,
        merchant: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[PaymentIntentList]:
        """Create up to 500 intents, all or none; they come back in the same order.

        ``client.create_intents([{"amount": 50_000}, {"amount": 60_000}]).data``
        """
        listed = [
            intent.model_dump(mode="json", exclude_unset=True)
            if isinstance(intent, NewPaymentIntent)
            else drop_none(**intent)
            for intent in intents
        ]
        return Route("POST", f"{_INTENTS}/bulk", PaymentIntentList).to(
            body=drop_none(intents=listed, merchant=merchant), idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def intent(intent_id: str) -> Request[PaymentIntent]:
        """Return one intent."""
        return Route("GET", _INTENT, PaymentIntent).to(intent_id)

    @PageMethod
    @staticmethod
    def intents(
        *,
        status: str | None = None,
        flag: str | None = None,
        attention: bool | None = None,
        asset: str | None = None,
        search: str | None = None,
        payment_link: str | None = None,
        reference: str | None = None,
        created_from: Moment | None = None,
        created_to: Moment | None = None,
        metadata: Mapping[str, str] | None = None,
        merchant: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> PageRequest[PaymentIntentPage, PaymentIntent]:
        """List intents, newest first: a page of up to 100; ``attention``: only those that call for a person.

        ``client.intents(status="pending", metadata={"shop": "2"}).data``
        """
        return Listing(_INTENTS, PaymentIntentPage, PaymentIntent).to(
            status=status,
            flag=flag,
            attention=attention,
            asset=asset,
            search=search,
            payment_link=payment_link,
            reference=reference,
            created_from=created_from,
            created_to=created_to,
            metadata=metadata,
            merchant=merchant,
            limit=limit,
            cursor=cursor,
        )

    each_intent = PaginatedMethod(intents)

    @Method
    @staticmethod
    def cancel_intent(
        intent_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Request[PaymentIntent]:
        """Cancel a pending intent; money that still comes is flagged late."""
        return Route("POST", _INTENT + "/cancel", PaymentIntent).to(
            intent_id, body=drop_none(reason=reason), idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def mark_intent(
        intent_id: str, *, status: str, reason: str, idempotency_key: str | None = None
    ) -> Request[PaymentIntent]:
        """Declare an intent ``succeeded`` or ``failed``, whatever the chain says.

        ``client.mark_intent("pi_…", status="succeeded", reason="paid in cash")``
        """
        body = {"status": status, "reason": reason}
        return Route("POST", _INTENT + "/mark", PaymentIntent).to(
            intent_id, body=body, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def dismiss_intent(
        intent_id: str, *, reason: str, idempotency_key: str | None = None
    ) -> Request[PaymentIntent]:
        """Dismiss what is due of an ended intent: it went back another way, or it stays.

        ``client.dismiss_intent("pi_…", reason="sent back by hand")``
        """
        return Route("POST", _INTENT + "/dismiss", PaymentIntent).to(
            intent_id, body={"reason": reason}, idempotency_key=idempotency_key
        )

    @Method
    @staticmethod
    def checkout(token: str, *, wait: int | None = None, after: str | None = None) -> Request[Checkout]:
        """Return what the payer sees; ``token`` is the last part of ``checkout_url``.

        With ``wait``, seconds (at most 60), it comes when that differs from the ``version`` named ``after``.

        ``client.checkout(intent.checkout_url.rpartition("/")[2]).state``
        """
        query = {"wait": None if wait is None else f"{wait}s", "after": after}
        return Route("GET", _CHECKOUT, Checkout).to(token, query=query, extra_timeout=wait or 0)

    @WorkflowMethod
    @staticmethod
    def wait_for(
        intent: PaymentIntent | str,
        timeout: float = 300.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> Workflow[PaymentIntent]:
        """Wait until an intent is neither pending nor processing, and return it.

        After ``timeout`` seconds it is returned as it is then.

        ``paid = client.wait_for(intent, timeout=600).status == "succeeded"``
        """
        intent_id = intent if isinstance(intent, str) else intent.id
        end = clock() + timeout
        found: PaymentIntent = yield Route("GET", _INTENT, PaymentIntent).to(intent_id)
        # Below a second the server would be asked over and over at the end.
        while found.status in OPEN and (left := int(end - clock())) > 0:
            began, seen = clock(), found.status
            wait = min(left, MAX_WAIT_SECONDS)
            found = yield Route("GET", _INTENT, PaymentIntent).to(
                intent_id, query={"wait": f"{wait}s", "seen": seen}, extra_timeout=wait
            )
            if found.status == seen and clock() - began < MIN_WAIT_SECONDS:
                yield Sleep(MIN_WAIT_SECONDS)  # the server stops, and ends long polls
        return found

    @PageMethod
    @staticmethod
    def transfers(
        *,
        unmatched: bool | None = None,
        merchant: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> PageRequest[TransferPage, Transfer]:
        """List money that arrived, newest first; ``unmatched``: only what belongs to no intent."""
        return Listing(_TRANSFERS, TransferPage, Transfer).to(
            unmatched=unmatched, merchant=merchant, limit=limit, cursor=cursor
        )

    each_transfer = PaginatedMethod(transfers)

    @Method
    @staticmethod
    def transfer(transfer_id: str) -> Request[Transfer]:
        """Return one transfer."""
        return Route("GET", _TRANSFER, Transfer).to(transfer_id)

    @Method
    @staticmethod
    def assign_transfer(
        transfer_id: str, *, intent: str, reason: str, idempotency_key: str | None = None
    ) -> Request[Transfer]:
        """Give unmatched money to an intent, for a reason that is kept."""
        body = {"intent": intent, "reason": reason}
        return Route("POST", _TRANSFER + "/assign", Transfer).to(
            transfer_id, body=body, idempotency_key=idempotency_key
        )
