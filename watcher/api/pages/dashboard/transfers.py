"""Money that belongs to no payment: why, and giving it to one."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from watcher.api.auth import api_of
from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import REFUSALS, FormIn, Read, Show, Write, errors_of
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.schemas import Assign, PaymentIntentFilters, TransferFilters
from watcher.services import Services
from watcher.web.dashboard import words

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)

#: Rows of a page, and payments that a search offers.
_ROWS, _OFFERED = 25, 10


@router.get("/transfers")
async def list_transfers(request: Request, read: Read, show: Show) -> Response:
    """Show the money that belongs to nothing, newest first; with ``all``, all that came."""
    everything = request.query_params.get("all") == "yes"
    cursor = request.query_params.get("cursor")
    filters = TransferFilters.of(
        {"unmatched": not everything, "limit": _ROWS} | ({"cursor": cursor} if cursor else {})
    )
    found = await read(lambda services: services.transfers(filters))
    return show(
        "transfers",
        found=found,
        everything=everything,
        cursor=cursor,
        reasons=words.UNMATCHED,
        explorer=api_of(request).settings.server_info.transaction_url,
    )


@router.get("/transfers/{transfer_id}")
async def show_transfer(transfer_id: Id, request: Request, read: Read, show: Show) -> Response:
    """Show one transfer, and the payments that it may be for."""
    return await _transfer_page(request, transfer_id, read, show)


@router.post("/transfers/{transfer_id}/assign")
async def assign_transfer(
    transfer_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Give the money to a payment."""
    try:
        body = Assign.of({name: form.text(name) for name in ("intent", "reason")})
        await write(lambda services: services.assign_transfer(transfer_id, body))
    except REFUSALS as error:
        errors = errors_of(request, error)
        return await _transfer_page(request, transfer_id, read, show, errors=errors, values=form.values)
    return show.redirect(f"payments/{body.intent}", said="The money is assigned to this payment.")


async def _transfer_page(
    request: Request,
    transfer_id: str,
    read: Read,
    show: Show,
    *,
    errors: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
) -> Response:
    search = request.query_params.get("search", "").strip() or (values or {}).get("search", "")

    def work(services: Services) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        transfer = services.transfer(transfer_id)
        # What the transfer itself says is the first guess: its memo, else who sent it.
        memo = transfer["memo"]["text"] if transfer["memo"] else None
        for guess in (search,) if search else (memo, transfer["sender"]):
            if guess:
                asked = PaymentIntentFilters.of({"search": guess, "limit": _OFFERED})
                if (offered := services.intents(asked)["data"]) or search:
                    return transfer, offered, guess
        return transfer, [], ""

    problems = dict(errors or {})
    try:
        transfer, offered, searched = await read(work)
    except REFUSALS as error:  # the search is too long
        problems |= errors_of(request, error)
        transfer = await read(lambda services: services.transfer(transfer_id))
        offered, searched = [], ""
    return show(
        "transfer",
        status=422 if problems else 200,
        transfer=transfer,
        offered=offered,
        search=search,
        searched=searched,
        errors=problems,
        values=values or {},
        reasons=words.UNMATCHED,
        explorer=api_of(request).settings.server_info.transaction_url,
    )
