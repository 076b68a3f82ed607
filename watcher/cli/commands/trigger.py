"""``trigger``: send one endpoint a sample event of a type."""

from typing import Annotated

import typer

from watcher.cli import render
from watcher.cli.options import EndpointOption, JsonOption
from watcher.cli.session import get_session, request_of

IntentOption = Annotated[
    str | None,
    typer.Option(
        "--intent",
        metavar="ID",
        help="Show this intent, as its newest event of the type did. Default: one that does not exist.",
    ),
]


def trigger(
    context: typer.Context,
    event_type: Annotated[
        str, typer.Argument(metavar="EVENT_TYPE", help="The type, e.g. payment.succeeded.")
    ],
    endpoint: EndpointOption,
    intent: IntentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send one endpoint a sample event of a type.

    The running daemon delivers it like any other. It says "test": true and
    "livemode": false, and shows a payment that never happened.

    Example: sbtc-watcher trigger payment.succeeded --endpoint we_…
    """
    send(context, endpoint, event_type, intent, as_json)


def send(
    context: typer.Context, endpoint: str, event_type: str | None, intent: str | None, as_json: bool
) -> None:
    """Queue a test event and print its ids."""
    from watcher.schemas import SendTest

    request = request_of(SendTest, type=event_type, intent=intent)
    with get_session(context).services(write=True) as services:
        found = services.test_endpoint(endpoint, request)
        render.details(
            found,
            as_json,
            lambda it: [("Event", it["event"]), ("Delivery", it["delivery"])],
            message=f"See the result: sbtc-watcher deliveries show {found['delivery']}",
        )
