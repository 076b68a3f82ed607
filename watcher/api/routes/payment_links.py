"""Payment links: pages from which payers start payments."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.json_response import with_etag
from watcher.api.responses import files, reads, writes
from watcher.api.route import ApiRoute
from watcher.errors import Refused
from watcher.schemas import ChangePaymentLink, LinkDays, NewPaymentLink, OwnedPage
from watcher.web.codes import MEDIA_TYPES, CodeFormat, code_file

router = APIRouter(
    prefix="/v1/payment_links", tags=["Payment links"], route_class=ApiRoute, dependencies=BY_KEY
)


@router.post("", status_code=201, response_model=schemas.PaymentLink, responses=writes(404, status=201))
async def create_payment_link(body: NewPaymentLink, write: Write) -> Response:
    """Create a payment link. Its `url` is a page for anyone who has it."""
    return await write.with_password(
        body.password, lambda services, made: services.create_link(body, password_hash=made)
    )


@router.get("", response_model=schemas.PaymentLinkPage, responses=reads())
async def list_payment_links(page: Annotated[OwnedPage, Query()], read: Read) -> Response:
    """List payment links, newest first."""
    return await read(lambda services: services.links(page))


@router.get("/{link_id}", response_model=schemas.PaymentLink, responses=reads(404))
async def get_payment_link(link_id: Id, read: Read) -> Response:
    """Return one payment link."""
    return await read(lambda services: services.link(link_id))


@router.patch("/{link_id}", response_model=schemas.PaymentLink, responses=writes(404))
async def change_payment_link(link_id: Id, body: ChangePaymentLink, write: Write) -> Response:
    """Change a payment link, or disable it. Payments that were started from it keep their terms."""
    return await write.with_password(
        body.password, lambda services, made: services.change_link(link_id, body, password_hash=made)
    )


@router.get("/{link_id}/statistics", response_model=schemas.PaymentLinkStatistics, responses=reads(404))
async def get_payment_link_statistics(
    link_id: Id, days: Annotated[LinkDays, Query()], read: Read
) -> Response:
    """Return who looked, what was started and what was paid with a payment link, in all and by day."""
    return await read(lambda services: services.link_statistics(link_id, days))


@router.get("/{link_id}/qr", response_class=Response, responses=files(404, 409, kinds=MEDIA_TYPES.values()))
async def get_payment_link_code(
    link_id: Id,
    request: Request,
    read: Read,
    form: Annotated[CodeFormat, Query(alias="format")] = CodeFormat.SVG,
) -> Response:
    """Return the QR code of a payment link's page, to be printed. The server needs a `public_url`."""
    document = await read.document(lambda services: services.link(link_id))
    if not document["url"].startswith("http"):
        raise Refused("no_public_url", "the server does not know its address; set public_url")
    return with_etag(request, code_file(document["url"], form), media_type=MEDIA_TYPES[form])
