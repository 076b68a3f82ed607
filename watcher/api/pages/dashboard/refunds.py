"""Giving money back: what is due, and the call for the merchant's own wallet."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from watcher.api.auth import api_of
from watcher.api.dependencies import Id
from watcher.api.errors import problem_of
from watcher.api.pages.dashboard.dependencies import REFUSALS, Read, Show, errors_of
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.api.pages.dashboard.units import base_units
from watcher.config.settings import Settings
from watcher.schemas import GiveBack, RefundsDue
from watcher.web.dashboard import payments as view
from watcher.web.dashboard import words

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)

#: Rows of a page.
_ROWS = 25


@router.get("/payments/{intent_id}/refund")
async def show_refund(intent_id: Id, request: Request, read: Read, show: Show) -> Response:
    """Show how to give money back, with the call for the merchant's own wallet."""
    payment = await read(lambda services: services.intent(intent_id))
    values = dict(request.query_params)
    errors: dict[str, str] = {}
    try:
        asked = _give_back(values, payment, api_of(request).settings)
        found = await read(lambda services: services.refund_help(intent_id, asked))
    except REFUSALS as error:
        errors = errors_of(request, error)
        found = await read(lambda services: services.refund_help(intent_id, GiveBack()))
    chosen = next((way for way in found["ways"] if way["call"] is not None), None) if not errors else None
    return show(
        "refund",
        status=422 if errors else 200,
        payment=payment,
        found=found,
        chosen=chosen,
        values=values,
        errors=errors,
        t=words.refund_wallet,
        view=view,
    )


@router.get("/payments/{intent_id}/refund/{amount}/{to}/call")
async def get_refund_call(
    intent_id: Id,
    amount: str,
    to: str,
    sender: Annotated[str, Query(max_length=200)],
    request: Request,
    read: Read,
) -> Response:
    """Return what the merchant's wallet, whose address is ``sender``, is asked to do."""
    try:
        asked = GiveBack.of({"amount": amount, "to": to})
        return JSONResponse(
            await read(lambda services: services.refund_call(intent_id, asked, sender=sender))
        )
    except REFUSALS as error:
        problem = problem_of(request, error)
        assert problem is not None, "a refusal is a problem"
        return JSONResponse({"code": problem.code, "detail": problem.detail}, status_code=problem.status_code)


@router.get("/refunds")
async def list_refunds(request: Request, read: Read, show: Show) -> Response:
    """Show the payments of which a refund is due."""
    cursor = request.query_params.get("cursor")
    page = RefundsDue.of({"limit": _ROWS} | ({"cursor": cursor} if cursor else {}))
    return show(
        "refunds", found=await read(lambda services: services.refunds_due(page)), cursor=cursor, view=view
    )


def _give_back(values: Mapping[str, str], payment: Mapping[str, Any], settings: Settings) -> GiveBack:
    asked: dict[str, Any] = {}
    if values.get("amount", "").strip():
        asked["amount"] = base_units(values["amount"], payment["asset"], settings)
    if values.get("to", "").strip():
        asked["to"] = values["to"].strip()
    return GiveBack.of(asked)
