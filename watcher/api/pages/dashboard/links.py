"""Payment links of the merchant that is looked at."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from watcher.api.auth import api_of
from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import (
    REFUSALS,
    FormIn,
    Read,
    Reading,
    Show,
    Showing,
    Write,
    errors_of,
)
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.api.pages.forms import Form
from watcher.api.pages.own_address import own_address
from watcher.schemas import ChangePaymentLink, LinkDays, NewPaymentLink, OwnedPage
from watcher.services import Services
from watcher.web import amounts
from watcher.web.codes import MEDIA_TYPES, CodeFormat, code_file
from watcher.web.dashboard import link_form
from watcher.web.dashboard.link_form import Pricing
from watcher.web.dashboard.links import LinkStatistics, LinkView

router = APIRouter(prefix="/dashboard/links", route_class=DashboardRoute)

_ROWS = 25


@router.get("")
async def list_links(
    read: Read, show: Show, cursor: Annotated[str | None, Query(max_length=40)] = None
) -> Response:
    """List the links, newest first."""
    page = OwnedPage.of({"limit": _ROWS} | ({"cursor": cursor} if cursor else {}))
    found, decimals = await read(lambda services: (services.links(page), _decimals(services)))
    links = [LinkView(link, decimals) for link in found["data"]]
    return show("links", links=links, next_cursor=found["next_cursor"], cursor=cursor)


@router.get("/new")
async def show_form(read: Read, show: Show) -> Response:
    """Show the form for a new link."""
    return await _form(read, show)


@router.post("/new")
async def create_link(request: Request, form: FormIn, read: Read, write: Write, show: Show) -> Response:
    """Create a link and show it."""
    decimals = await read(_decimals)
    try:
        given = {name: value for name, value in _given(form, decimals).items() if value is not None}
        body = NewPaymentLink.of(given)
        link = await write.with_password(
            body.password, lambda services, made: services.create_link(body, password_hash=made)
        )
    except REFUSALS as error:
        return await _form(read, show, values=form.values, errors=errors_of(request, error))
    return show.redirect(f"links/{link['id']}", said="The link is there. Give it to your customers.")


@router.get("/{link_id}")
async def show_link(
    link_id: Id,
    request: Request,
    read: Read,
    show: Show,
    days: Annotated[str | None, Query(max_length=10)] = None,
) -> Response:
    """Show a link, its code, and what became of it."""
    asked = LinkDays.of({} if days is None else {"days": days})
    link, statistics, decimals = await read(
        lambda services: (
            services.link(link_id),
            services.link_statistics(link_id, asked),
            _decimals(services),
        )
    )
    url = own_address(request, api_of(request).settings.public_url, _path(link))
    return show(
        "link", page=LinkView(link, decimals, url), statistics=LinkStatistics(statistics), days=asked.days
    )


@router.get("/{link_id}/code.{form}")
async def get_code(link_id: Id, form: CodeFormat, request: Request, read: Read) -> Response:
    """Return the link's code as a file."""
    link = await read(lambda services: services.link(link_id))
    url = own_address(request, api_of(request).settings.public_url, _path(link)) or link["url"]
    headers = {"content-disposition": f'attachment; filename="{link_id}.{form.value}"'}
    return Response(code_file(url, form), media_type=MEDIA_TYPES[form], headers=headers)


@router.get("/{link_id}/edit")
async def edit_link(link_id: Id, read: Read, show: Show) -> Response:
    """Show the form of a link."""
    return await _form(read, show, link_id=link_id)


@router.post("/{link_id}/edit")
async def change_link(
    link_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Change what the form has; payments that were started keep their terms."""
    decimals = await read(_decimals)
    try:
        given = _given(form, decimals)
        if not given["password"] and not form.text("no_password"):
            del given["password"]
        body = ChangePaymentLink.of(given)
        await write.with_password(
            body.password, lambda services, made: services.change_link(link_id, body, password_hash=made)
        )
    except REFUSALS as error:
        return await _form(read, show, link_id=link_id, values=form.values, errors=errors_of(request, error))
    return show.redirect(f"links/{link_id}", said="Saved. Payments that were started keep their terms.")


@router.post("/{link_id}/disable")
async def disable_link(link_id: Id, write: Write, show: Show) -> Response:
    """Start nothing from a link any more."""
    body = ChangePaymentLink(active=False)
    await write(lambda services: services.change_link(link_id, body))
    return show.redirect(f"links/{link_id}", said="The link is disabled. What was started can still be paid.")


@router.post("/{link_id}/enable")
async def enable_link(link_id: Id, write: Write, show: Show) -> Response:
    """Let payments be started from a link again."""
    body = ChangePaymentLink(active=True)
    await write(lambda services: services.change_link(link_id, body))
    return show.redirect(f"links/{link_id}", said="The link can be used again.")


async def _form(read: Reading, show: Showing, *, link_id: str | None = None, **values: Any) -> Response:
    """Show the form of a link, or of a new one; with ``errors`` as it was sent."""

    def load(services: Services) -> tuple[Any, dict[str, int]]:
        return None if link_id is None else services.link(link_id), _decimals(services)

    link, decimals = await read(load)
    fresh = {"pricing": Pricing.FIXED.value, "asset": next(iter(decimals))}
    defaults: dict[str, Any] = {
        "values": fresh if link is None else link_form.values_of(link, decimals),
        "errors": {},
    }
    return show(
        "link_form",
        status=422 if "errors" in values else 200,
        link=link,
        named=[(name, amounts.symbol(name)) for name in decimals],
        shown=link_form.shown(decimals),
        **(defaults | values),
    )


def _given(form: Form, decimals: dict[str, int]) -> dict[str, Any]:
    """Return the request of a form. Raises :class:`watcher.errors.Refused`."""
    values = {name: form.text(name) for name, _ in form.pairs}
    # A password is what was typed, with its spaces.
    password = next(iter(form.texts("password")), "")
    return link_form.request_of(values, decimals) | {"password": password or None}


def _decimals(services: Services) -> dict[str, int]:
    return {name: asset.decimals for name, asset in services.settings.assets.items()}


def _path(link: dict[str, Any]) -> str:
    return "/l/" + str(link["url"]).rpartition("/")[2]
