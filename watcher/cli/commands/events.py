"""``events``: the events sent to merchants."""

import json
from typing import Annotated

import typer

from notifier.events import EventType
from watcher.cli import render
from watcher.cli.format import when
from watcher.cli.help import Commands
from watcher.cli.options import (
    MAX_LIMIT,
    CursorOption,
    EndpointOption,
    JsonOption,
    LimitOption,
    MerchantFilterOption,
)
from watcher.cli.session import get_session, read_moment, request_of

app = Commands("events", "Show the events sent to merchants; send them again.")

_Event = Annotated[str, typer.Argument(metavar="ID", help="The event's id (evt_…).")]


@app.command("list")
def list_(
    context: typer.Context,
    merchant: MerchantFilterOption = None,
    kind: Annotated[
        EventType | None,
        typer.Option("--type", metavar="TYPE", help="Only this type, e.g. payment.succeeded."),
    ] = None,
    intent: Annotated[
        str | None, typer.Option("--intent", metavar="ID", help="Only for this intent.")
    ] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List events, newest first."""
    from watcher.schemas import EventFilters

    filters = request_of(
        EventFilters, merchant=merchant, type=kind, intent=intent, limit=limit, cursor=cursor
    )
    with get_session(context).services() as services:
        found = services.events(filters)
    columns: render.Columns = {
        "ID": "id",
        "Time (UTC)": lambda row: when(row["timestamp"]),
        "Type": "type",
        # Retention empties bodies.
        "Reason": lambda row: (row["data"] or {}).get("reason"),
        "Intent": lambda row: (row["data"] or {}).get("payment_intent", {}).get("id"),
    }
    render.listing(found, as_json, columns, nothing="No such events.")


@app.command()
def show(context: typer.Context, event: _Event, as_json: JsonOption = False) -> None:
    """Show an event: its body as sent, and its deliveries."""
    from watcher.schemas import DeliveryFilters

    with get_session(context).services() as services:
        found = services.event(event)
        sent = [] if as_json else services.deliveries(DeliveryFilters(event=event, limit=MAX_LIMIT))["data"]
    if as_json:
        render.document(found)
        return
    render.line(json.dumps(found, indent=2, ensure_ascii=True))
    if found["data"] is None:
        render.note("The body is older than retention_days and was emptied.")
    rows = [(d["id"], render.status_text(d["status"]), d["endpoint"], d["attempts"]) for d in sent]
    if rows:
        render.show(render.heading("Deliveries"))
        render.show(render.table(("ID", "Status", "Endpoint", "Attempts"), rows, right=("Attempts",)))
    else:
        render.note("No endpoint subscribed to it.")


@app.command()
def redeliver(
    context: typer.Context,
    event: _Event,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="ID", help="Only to this one. Default: every endpoint that received it."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send an event again, under the same event id."""
    from watcher.schemas import Redeliver

    request = request_of(Redeliver, endpoint=endpoint)
    with get_session(context).services(write=True) as services:
        found = services.redeliver_event(event, request)
        if as_json:
            render.document(found)
        elif found["deliveries"]:
            render.show(render.card([("Delivery", delivery) for delivery in found["deliveries"]]))
        else:
            render.note("No endpoint has received this event; name one with --endpoint.")


@app.command()
def replay(
    context: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="RFC 3339 time, or how long ago: 2d.")
    ],
    endpoint: EndpointOption,
    as_json: JsonOption = False,
) -> None:
    """Send an endpoint all its events since a given time again, except those still queued.

    Example: sbtc-watcher events replay --since 2d --endpoint we_…
    """
    from watcher.schemas import Replay

    session = get_session(context)
    request = Replay.of({"since": read_moment(since, "--since", now=session.now)})
    with session.services(write=True) as services:
        found = services.replay_endpoint(endpoint, request)
        if as_json:
            render.document(found)
        else:
            count = render.count(found["replayed"], "event")
            render.note(f"Queued for endpoint {endpoint}: {count}.{render.background(found)}")
