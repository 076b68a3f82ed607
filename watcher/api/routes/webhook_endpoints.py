"""Webhook endpoints: where a merchant's webhooks go."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import ApiRoute
from watcher.schemas import ChangeEndpoint, NewEndpoint, OwnedPage, Replay, RotateSecret, SendTest

router = APIRouter(
    prefix="/v1/webhook_endpoints", tags=["Webhook endpoints"], route_class=ApiRoute, dependencies=BY_KEY
)


@router.post(
    "", status_code=201, response_model=schemas.EndpointWithSecret, responses=writes(404, status=201)
)
async def create_webhook_endpoint(body: NewEndpoint, write: Write) -> Response:
    """Add a webhook endpoint. Its secret, which verifies signatures, is shown this once."""
    return await write.with_url(body.url, lambda services, url: services.add_endpoint(body, url=url))


@router.get("", response_model=schemas.EndpointPage, responses=reads())
async def list_webhook_endpoints(page: Annotated[OwnedPage, Query()], read: Read) -> Response:
    """List webhook endpoints, newest first."""
    return await read(lambda services: services.endpoints(page))


@router.get("/{endpoint_id}", response_model=schemas.Endpoint, responses=reads(404))
async def get_webhook_endpoint(endpoint_id: Id, read: Read) -> Response:
    """Return one webhook endpoint."""
    return await read(lambda services: services.endpoint(endpoint_id))


@router.patch("/{endpoint_id}", response_model=schemas.Endpoint, responses=writes(404))
async def change_webhook_endpoint(endpoint_id: Id, body: ChangeEndpoint, write: Write) -> Response:
    """Change a webhook endpoint: its URL, what it gets, or whether it is sent to at all."""
    return await write.with_url(
        body.url, lambda services, url: services.change_endpoint(endpoint_id, body, url=url)
    )


@router.delete("/{endpoint_id}", response_model=schemas.RemovedEndpoint, responses=writes(404))
async def remove_webhook_endpoint(endpoint_id: Id, write: Write) -> Response:
    """Remove a webhook endpoint; what was not delivered to it is given up."""
    return await write(lambda services: services.remove_endpoint(endpoint_id))


@router.post("/{endpoint_id}/rotate_secret", response_model=schemas.EndpointWithSecret, responses=writes(404))
async def rotate_webhook_endpoint_secret(
    endpoint_id: Id, write: Write, body: RotateSecret | None = None
) -> Response:
    """Give a webhook endpoint a fresh secret, shown this once; the old one signs too for a while."""
    return await write(lambda services: services.rotate_endpoint_secret(endpoint_id, body or RotateSecret()))


@router.post("/{endpoint_id}/test", response_model=schemas.TestEvent, responses=writes(404))
async def test_webhook_endpoint(
    endpoint_id: Id,
    write: Write,
    body: SendTest | None = None,  # noqa: PT028 - a route, not a test
) -> Response:
    """Send a webhook endpoint a test event, the way that all go: `webhook.test`, or a sample of any type."""
    return await write(lambda services: services.test_endpoint(endpoint_id, body or SendTest()))


@router.post("/{endpoint_id}/recover", response_model=schemas.Recovered, responses=writes(404))
async def recover_webhook_endpoint(endpoint_id: Id, write: Write) -> Response:
    """Send what was given up to a webhook endpoint once more."""
    return await write(lambda services: services.recover_endpoint(endpoint_id))


@router.post("/{endpoint_id}/replay", response_model=schemas.Replayed, responses=writes(404))
async def replay_webhook_endpoint(endpoint_id: Id, body: Replay, write: Write) -> Response:
    """Send a webhook endpoint everything since a time once more."""
    return await write(lambda services: services.replay_endpoint(endpoint_id, body))
