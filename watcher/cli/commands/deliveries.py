"""``deliveries``: one event's delivery to one endpoint, with its attempts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from watcher.cli import render
from watcher.cli.format import span, when
from watcher.cli.help import Commands
from watcher.cli.options import CursorOption, EndpointOption, JsonOption, LimitOption, MerchantFilterOption
from watcher.cli.session import get_session, request_of

app = Commands("deliveries", "Show deliveries and their attempts; retry or dismiss them.")

#: The values of :class:`notifier.schema.DeliveryStatus`; importing it loads the database for a help text.
StatusName = Literal["pending", "held", "delivered", "dead"]

_Delivery = Annotated[str, typer.Argument(metavar="ID", help="The delivery's id (dlv_…).")]


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[
        StatusName | None,
        typer.Option(
            "--status", metavar="STATUS", help="Only this status: pending, held, delivered or dead."
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="ID", help="Only to this endpoint.")
    ] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="ID", help="Only for this event.")] = None,
    merchant: MerchantFilterOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, newest first.

    Example: sbtc-watcher deliveries list --status dead
    """
    from watcher.schemas import DeliveryFilters

    filters = request_of(
        DeliveryFilters,
        merchant=merchant,
        endpoint=endpoint,
        event=event,
        status=status,
        limit=limit,
        cursor=cursor,
    )
    with get_session(context).services() as services:
        found = services.deliveries(filters)
    columns: render.Columns = {
        "ID": "id",
        "Status": _status,
        "Event": "event_type",
        "Attempts": "attempts",
        "Last": lambda row: row["last_status_code"] or row["last_error"],
        "Next (UTC)": lambda row: when(row["next_attempt_at"]),
        "Endpoint": "endpoint",
    }
    render.listing(found, as_json, columns, right=("Attempts",), nothing="No such deliveries.")


@app.command()
def show(context: typer.Context, delivery: _Delivery, as_json: JsonOption = False) -> None:
    """Show a delivery with its attempts."""
    with get_session(context).services() as services:
        found = services.delivery(delivery)
    _print(found, as_json)


@app.command()
def queue(context: typer.Context, merchant: MerchantFilterOption = None, as_json: JsonOption = False) -> None:
    """Show what is still to be delivered, and how each endpoint answered in 24 hours."""
    from watcher.schemas import QueueFilters

    request = request_of(QueueFilters, merchant=merchant)
    with get_session(context).services() as services:
        found = services.queue(request)
    if as_json:
        render.document(found)
        return
    oldest = found["oldest_seconds"]
    latency = found["latency_ms"]
    render.show(
        render.card(
            [
                ("Due", found["due"]),
                ("In flight", found["in_flight"]),
                ("Waiting", found["waiting"]),
                ("Held", found["held"]),
                ("Oldest", None if oldest is None else span(oldest)),
                ("Delivered, 24 h", found["delivered_24h"]),
                ("Dead, 24 h", found["dead_24h"]),
                ("Success, 24 h", _percent(found)),
                ("Latency", None if latency is None else f"p50 {latency['p50']} ms, p95 {latency['p95']} ms"),
            ]
        )
    )
    rows = [
        (
            row["endpoint"],
            row["due"] + row["in_flight"] + row["waiting"],
            row["held"],
            _percent(row),
            (row["latency_ms"] or {}).get("p95"),
            (row["last_error"] or {}).get("message"),
        )
        for row in found["endpoints"]
    ]
    if rows:
        columns = ("Endpoint", "Open", "Held", "Success", "p95 ms", "Last error")
        render.show(render.heading("Endpoints"))
        render.show(render.table(columns, rows, right=("Open", "Held", "Success", "p95 ms")))
    else:
        render.note("No endpoints yet: sbtc-watcher endpoints add URL --merchant ID")


@app.command()
def retry(context: typer.Context, delivery: _Delivery, as_json: JsonOption = False) -> None:
    """Make a pending or dead delivery due now; its retry schedule starts over."""
    with get_session(context).services(write=True) as services:
        found = services.retry_delivery(delivery)
        _print(found, as_json)


@app.command()
def dismiss(context: typer.Context, delivery: _Delivery, as_json: JsonOption = False) -> None:
    """Stop counting a dead delivery in `status`; it stays dead and listed.

    Example: sbtc-watcher deliveries dismiss dlv_…
    """
    with get_session(context).services(write=True) as services:
        found = services.dismiss_delivery(delivery)
        _print(found, as_json)


@app.command()
def recover(
    context: typer.Context,
    endpoint: EndpointOption,
    as_json: JsonOption = False,
) -> None:
    """Make all dead deliveries of an endpoint due now."""
    with get_session(context).services(write=True) as services:
        found = services.recover_endpoint(endpoint)
        if as_json:
            render.document(found)
        else:
            count = render.count(found["recovered"], "delivery")
            render.note(f"Due now: {count} to endpoint {endpoint}.{render.background(found)}")


def _status(found: Mapping[str, Any]) -> Any:
    text = render.status_text(found["status"])
    return text.append(" (dismissed)") if found.get("dismissed_at") else text


def _percent(found: Mapping[str, Any]) -> str | None:
    rate = found["success_rate"]
    return None if rate is None else f"{rate:.1%}"


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        render.document(found)
        return
    upcoming = found["next_attempt_at"]
    render.show(
        render.card(
            [
                ("Delivery", found["id"]),
                ("Status", _status(found)),
                ("Event", f"{found['event']} ({found['event_type']})"),
                ("Endpoint", found["endpoint"]),
                ("Next attempt", f"{when(upcoming)} UTC" if upcoming else None),
                ("Created", f"{when(found['created_at'])} UTC"),
                ("Delivered", f"{when(found['delivered_at'])} UTC" if found["delivered_at"] else None),
            ]
        )
    )
    if not found["log"]:
        render.note("No attempts yet.")
        return
    render.show(render.heading("Attempts"))
    rows = [
        (
            row["number"],
            when(row["at"]),
            f"{row['duration_ms']:,} ms",
            row["status_code"],
            row["error"] or (row["response"] or "")[:200],
        )
        for row in found["log"]
    ]
    render.show(render.table(("#", "Time (UTC)", "Took", "Status", "Answer"), rows, right=("#", "Took")))
