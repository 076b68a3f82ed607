"""The page of a payment link, and the form on it that starts a payment."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from chain.model import MAX_AMOUNT
from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.pages.answer import answer
from watcher.api.pages.forms import Form, read_form
from watcher.api.pages.language import language_of
from watcher.api.visitors import visitor_of
from watcher.domain.payment_links import LinkStatus
from watcher.errors import Refused
from watcher.schemas import StartPayment
from watcher.services.link_payments import GONE
from watcher.web import amounts
from watcher.web.payment_link import link_page

router = APIRouter(tags=["Payment links"])

#: Statuses of refusals; for the others something is wrong with what was typed.
_STATUSES = {
    **dict.fromkeys(GONE, 410),
    "wrong_password": 403,
    "too_many_open": 503,
    "not_payable": 409,
}


#: Characters of what a right password brings, and the form's random text.
_MAX_UNLOCK = 100
_VISIT = re.compile(r"[A-Za-z0-9_-]{22,64}", re.ASCII)


@router.get("/l/{code}", dependencies=payers.LIMITED)
async def show_link(code: str, request: Request) -> Response:
    """Return the page of a payment link; nothing is started by looking."""
    document, origins = await api_of(request).links.page(code, visitor=visitor_of(request))
    return _Page(request, origins, Form([])).show(document)


@router.post("/l/{code}", dependencies=payers.LIMITED)
async def start_payment(code: str, request: Request) -> Response:
    """Start a payment and lead to its checkout; what is wrong is said on the page.

    It needs no token of ours: who sends the form from elsewhere starts a payment that nobody has to pay.
    """
    links = api_of(request).links
    form = await read_form(request)
    unlock = form.text("unlock")[:_MAX_UNLOCK]
    address = payers.limited_address(request)
    document, origins = await links.page(code, unlock=unlock or None)
    page = _Page(request, origins, form)
    try:
        # As it was typed, with its spaces.
        if password := next(iter(form.texts("password")), ""):
            unlock = await links.unlock(code, password, address=address)
            document, _ = await links.page(code, unlock=unlock or None)
        if form.text("step") == "unlock":
            return page.show(document, unlock=unlock, error=None if password else "wrong_password")
        token = await links.start(code, _asked(form, document, unlock), address=address)
    except Refused as error:
        # It may have ended since it was read.
        document, _ = await links.page(code, unlock=unlock or None)
        return page.show(document, unlock=unlock, error=error.code)
    language = f"?lang={language_of(request)}" if "lang" in request.query_params else ""
    return Response(status_code=303, headers={"location": f"../pay/{token}{language}"})


@dataclass(frozen=True, slots=True)
class _Page:
    """The page as one request gets it. ``form``: what was sent."""

    request: Request
    origins: list[str]
    form: Form

    def show(self, document: Mapping[str, Any], *, unlock: str = "", error: str | None = None) -> Response:
        """Answer with the page; ``error`` is the code of what is wrong with the form."""
        language = language_of(self.request)
        page = link_page(
            document,
            visit=_visit(self.form) or secrets.token_urlsafe(24),
            values=self.form.values,
            error=None if error in GONE else error,
            unlock=unlock,
            origins=self.origins,
            language=language,
        )
        nothing = not document["prices"] and not document["locked"]
        gone = nothing or document["status"] != LinkStatus.ACTIVE
        status = 410 if gone else 200 if error is None else _STATUSES.get(error, 422)
        response = answer(page, status=status, language=language)
        # Who comes back to the page gets the same form, which leads to the payment that it has started.
        response.headers["cache-control"] = "private, no-cache"
        return response


def _asked(form: Form, document: Mapping[str, Any], unlock: str) -> StartPayment:
    """Return what a form asks for; amounts are typed in the asset's own unit. Raises :class:`Refused`."""
    given = {"asset": form.text("asset")[:64], "unlock": unlock, "visit": _visit(form)}
    prices = document["prices"]
    if len(prices) == 1 and prices[0]["amount"] is None and (text := form.text("amount")):
        try:
            amount = amounts.units(text, prices[0]["decimals"], form.text("language"))
        except amounts.WrongNumber as error:
            raise Refused(f"amount_{error.key}") from None
        if not 0 < amount <= MAX_AMOUNT:
            raise Refused("amount_out_of_range")
        given["amount"] = str(amount)
    return StartPayment.of({name: value for name, value in given.items() if value})


def _visit(form: Form) -> str:
    """Return the random text of a form, nothing where it is none of ours."""
    text = form.text("visit")
    return text if _VISIT.fullmatch(text) else ""
