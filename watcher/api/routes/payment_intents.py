"""Payment intents: what is owed, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import ApiRoute, BulkRoute
from watcher.domain.model import Status
from watcher.schemas import (
    Cancel,
    Dismiss,
    Mark,
    NewPaymentIntent,
    NewPaymentIntents,
    PaymentIntentFilters,
    WaitForStatus,
)

_OPEN = (Status.PENDING, Status.PROCESSING)

router = APIRouter(
    prefix="/v1/payment_intents", tags=["Payment intents"], route_class=ApiRoute, dependencies=BY_KEY
)
bulk = APIRouter(
    prefix="/v1/payment_intents", tags=["Payment intents"], route_class=BulkRoute, dependencies=BY_KEY
)


@router.post("", status_code=201, response_model=schemas.PaymentIntent, responses=writes(404, status=201))
async def create_payment_intent(body: NewPaymentIntent, write: Write) -> Response:
    """Create a payment intent: what is owed, to whom, and until when."""
    return await write(lambda services: services.create_intent(body))


@bulk.post(
    "/bulk",
    status_code=201,
    response_model=schemas.PaymentIntentList,
    responses=writes(404, status=201),
)
async def create_payment_intents(body: NewPaymentIntents, write: Write) -> Response:
    """Create up to 500 payment intents, all or none; the body may have 2 MiB. Errors name the place:
    `intents.3.amount`.
    """
    return await write(lambda services: services.create_intents(body))


@router.get("", response_model=schemas.PaymentIntentPage, responses=reads())
async def list_payment_intents(filters: Annotated[PaymentIntentFilters, Query()], read: Read) -> Response:
    """List payment intents, newest first."""
    return await read(lambda services: services.intents(filters))


@router.get("/{intent_id}", response_model=schemas.PaymentIntent, responses=reads(404))
async def get_payment_intent(intent_id: Id, query: Annotated[WaitForStatus, Query()], read: Read) -> Response:
    """Return one payment intent, with `wait` when its status changes."""
    if query.wait:
        seen = _OPEN if query.seen is None else (query.seen,)
        await read.wait_for_change(intent_id, seconds=query.wait, seen=seen)
    return await read(lambda services: services.intent(intent_id))


@router.post("/{intent_id}/cancel", response_model=schemas.PaymentIntent, responses=writes(404))
async def cancel_payment_intent(intent_id: Id, write: Write, body: Cancel | None = None) -> Response:
    """Cancel a pending payment intent."""
    return await write(lambda services: services.cancel_intent(intent_id, body or Cancel()))


@router.post("/{intent_id}/mark", response_model=schemas.PaymentIntent, responses=writes(404))
async def mark_payment_intent(intent_id: Id, body: Mark, write: Write) -> Response:
    """Declare a payment intent succeeded or failed, whatever its money says: a person knows better."""
    return await write(lambda services: services.mark_intent(intent_id, body))


@router.post("/{intent_id}/dismiss", response_model=schemas.PaymentIntent, responses=writes(404))
async def dismiss_payment_intent(intent_id: Id, body: Dismiss, write: Write) -> Response:
    """Dismiss what is due of an ended payment intent: it went back another way, or it stays. More money is
    due again.
    """
    return await write(lambda services: services.dismiss_intent(intent_id, body))
