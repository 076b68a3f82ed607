"""Payment intents: what is owed, and what became of it."""

from typing import Any

from fastapi import APIRouter, Request, Response

from watcher import documents, fields
from watcher.desk import Desk
from watcher.desk.base import fields_of
from watcher.durations import parse_duration
from watcher.http import query
from watcher.http.callers import Id, Reader, Writer, api_of
from watcher.http.describe import describe
from watcher.http.query import Parameter, read_query
from watcher.http.waiting import MAX_WAIT
from watcher.http.whose import for_whom, operators
from watcher.intents import Flag, Status

router = APIRouter(prefix="/v1/payment_intents", tags=["Payment intents"])


def _read_reference(text: str) -> str:
    if not text or len(text) > 100:
        raise ValueError("must be 1 to 100 characters")
    return text


def _read_wait(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > MAX_WAIT:
        raise ValueError(f"{text!r} is longer than {MAX_WAIT:.0f}s")
    return seconds


_FILTERS = (
    query.choice("status", Status, "Only intents with this status."),
    query.choice("flag", Flag, "Only intents with this flag."),
    query.yes_or_no(
        "attention", "Only intents that call for a person, as `attention` in the status counts them."
    ),
    Parameter(
        name="reference",
        read=_read_reference,
        description="Only the intent with this reference, compared as payers write it.",
    ),
    query.moment("created_from", "Only intents created at this time or later (RFC 3339 or unix seconds)."),
    query.moment("created_to", "Only intents created before this time (RFC 3339 or unix seconds)."),
    Parameter(
        name="metadata",
        read=fields.read_metadata,
        description="Only intents with exactly this text under this key: `metadata[order_id]=12345`; several must all hold.",
        schema={"type": "object", "additionalProperties": {"type": "string"}},
        deep=True,
    ),
    *query.PAGE,
)
_WAIT = Parameter(
    name="wait",
    read=_read_wait,
    description="Answer when the status changes, or after this time at the latest: `30s`, at most `60s`. Without `seen` "
    "only a `pending` or `processing` intent is waited for.",
)
_SEEN = query.choice(
    "seen", Status, "With `wait`: the status that you know. The answer comes at once when it is another."
)
_OPEN = (Status.PENDING, Status.PROCESSING)

#: Bytes of a body with many intents.
MAX_BULK_BODY = 2 * 1024 * 1024


@router.post(
    "", **describe(answer=documents.PaymentIntent, status=201, body=documents.NewPaymentIntent, errors=(404,))
)
async def create_payment_intent(request: Request, caller: Writer) -> Response:
    """Create a payment intent: what is owed, to whom, and until when."""

    def create(desk: Desk, body: Any) -> Any:
        merchant, rest = for_whom(caller, body)
        return desk.create_intent(rest, merchant=merchant)

    return await api_of(request).change(request, caller, create)


@router.post(
    "/bulk",
    **describe(
        answer=documents.PaymentIntentList, status=201, body=documents.NewPaymentIntents, errors=(404,)
    ),
)
async def create_payment_intents(request: Request, caller: Writer) -> Response:
    """Create up to 500 payment intents, all or none; the body may have 2 MiB. Errors name the place: `intents.3.amount`."""

    def create(desk: Desk, body: Any) -> Any:
        merchant, rest = for_whom(caller, body)
        given = fields_of(rest, "intents", required=("intents",))
        return desk.create_intents(given["intents"], merchant=merchant)

    return await api_of(request).change(request, caller, create, max_body=MAX_BULK_BODY)


@router.get("", **describe(answer=documents.PaymentIntentPage, parameters=(*_FILTERS, query.MERCHANT)))
async def list_payment_intents(request: Request, caller: Reader) -> Response:
    """List payment intents, newest first."""
    asked = read_query(request, *_FILTERS, *operators(caller))
    return await api_of(request).look(request, caller, lambda desk: desk.intents(**asked))


@router.get(
    "/{intent_id}", **describe(answer=documents.PaymentIntent, parameters=(_WAIT, _SEEN), errors=(404,))
)
async def get_payment_intent(request: Request, caller: Reader, intent_id: Id) -> Response:
    """Return one payment intent, with `wait` when its status changes."""
    asked = read_query(request, _WAIT, _SEEN)
    api = api_of(request)
    if wait := asked.get("wait"):
        seen = asked.get("seen")
        await api.wait_for_intent(request, caller, intent_id, seconds=wait, seen=(seen,) if seen else _OPEN)
    return await api.look(request, caller, lambda desk: desk.intent(intent_id))


@router.post(
    "/{intent_id}/cancel",
    **describe(answer=documents.PaymentIntent, body=documents.Cancel, body_needed=False, errors=(404,)),
)
async def cancel_payment_intent(request: Request, caller: Writer, intent_id: Id) -> Response:
    """Cancel a pending payment intent."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.cancel_intent(intent_id, body), status=200
    )


@router.post(
    "/{intent_id}/mark", **describe(answer=documents.PaymentIntent, body=documents.Mark, errors=(404,))
)
async def mark_payment_intent(request: Request, caller: Writer, intent_id: Id) -> Response:
    """Declare a payment intent succeeded or failed, whatever its money says: a person knows better."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.mark_intent(intent_id, body), status=200
    )


@router.post(
    "/{intent_id}/dismiss",
    **describe(answer=documents.PaymentIntent, body=documents.Dismiss, errors=(404,)),
)
async def dismiss_payment_intent(request: Request, caller: Writer, intent_id: Id) -> Response:
    """Dismiss what is due of an ended payment intent: it went back another way, or it stays. More money is due again."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.dismiss_intent(intent_id, body), status=200
    )
