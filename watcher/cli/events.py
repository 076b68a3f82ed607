"""``events``: what merchants were told."""

import json
from typing import Annotated

import typer

from notifier.events import EventType
from watcher.cli import render
from watcher.cli.amounts import when
from watcher.cli.look import Commands
from watcher.cli.options import Cursor, Json, Limit, OfMerchant
from watcher.cli.session import of, read_moment

app = Commands("events", "See what merchants were told; send it again.")

_Event = Annotated[str, typer.Argument(metavar="ID", help="The event's id (evt_…).")]


@app.command("list")
def list_(
    context: typer.Context,
    merchant: OfMerchant = None,
    kind: Annotated[
        EventType | None, typer.Option("--type", metavar="TYPE", help="Only these, e.g. payment.succeeded.")
    ] = None,
    intent: Annotated[str | None, typer.Option("--intent", metavar="ID", help="Only of this intent.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List events, newest first."""
    from notifier import outbox
    from notifier.events import rfc3339

    with of(context).reading() as connection:
        rows, following = outbox.list_events(
            connection, merchant=merchant, type=kind, intent=intent, limit=limit, cursor=cursor
        )
    found = {"data": [outbox.event_json(row) for row in rows], "next_cursor": following}
    if as_json:
        render.document(found)
        return
    lines = [(row.id, when(rfc3339(row.created_at)), row.type.value, row.reason, row.intent) for row in rows]
    render.page(
        found,
        render.table(("ID", "Time (UTC)", "Type", "Reason", "Intent"), lines),
        nothing="No such events.",
    )


@app.command()
def show(context: typer.Context, event: _Event, as_json: Json = False) -> None:
    """Show an event: its body as it is sent, and where it went."""
    from notifier import deliveries, outbox

    with of(context).reading() as connection:
        row = outbox.get_event(connection, event)
        sent, _ = deliveries.list_deliveries(connection, event=event, limit=100)
    if as_json:
        render.document(outbox.event_json(row))
        return
    render.line(json.dumps(outbox.event_json(row), indent=2, ensure_ascii=True))
    if not row.body:
        render.note("The retention has emptied the body.")
    rows = [(d["id"], render.word(d["status"]), d["endpoint"], d["attempts"]) for d in sent]
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
        typer.Option("--endpoint", metavar="ID", help="Only there. Default: every endpoint that got it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send an event again, under the same event id."""
    from notifier import deliveries

    session = of(context)
    with session.writing() as connection:
        made = deliveries.redeliver(connection, event, endpoint_id=endpoint, now=session.now)
    if as_json:
        render.document({"event": event, "deliveries": made})
    elif made:
        render.show(render.card([("Delivery", delivery) for delivery in made]))
    else:
        render.note("No endpoint ever got this event; name one with --endpoint.")


@app.command()
def replay(
    context: typer.Context,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="RFC 3339, or how long ago: 2d.")],
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="ID", help="Where to (we_…).")],
    as_json: Json = False,
) -> None:
    """Send an endpoint everything it subscribes to again, from a time on.

    Example: sbtc-watcher events replay --since 2d --endpoint we_…
    """
    from notifier import deliveries

    session = of(context)
    now = session.now
    moment = read_moment(since, "--since", now=now)
    assert moment is not None, "the option is required"
    with session.writing() as connection:
        count = deliveries.replay(connection, endpoint, since=moment, now=now)
    if as_json:
        render.document({"endpoint": endpoint, "replayed": count})
    else:
        render.note(f"Queued for endpoint {endpoint}: {render.count(count, 'event')}.")
