"""``status``: the state of the daemon, read from the database or the server."""

import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from chain.api.capabilities import Reading
from notifier.events import rfc3339
from watcher.cli import render
from watcher.cli.format import relative, size, span
from watcher.cli.lag import diagnose
from watcher.cli.options import JsonOption
from watcher.cli.session import Session, get_session
from watcher.errors import UsageError

if TYPE_CHECKING:
    from watcher.cli.backends.protocol import Backend

EXIT_CODES = {"ok": 0, "starting": 1, "degraded": 1, "halted": 3}

#: Interval of ``--watch``, seconds.
REFRESH_SECONDS = 2.0


def status(
    context: typer.Context,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Refresh every two seconds until Ctrl-C; outside a terminal, one line each time.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state of the daemon: chain, lag, sources, intents, webhooks.

    Exit code 0 ok, 1 degraded or starting, 3 halted; with --watch, of the last state shown.
    """
    if watch and as_json:
        raise UsageError("--watch and --json exclude each other", hint="call `status --json` in a loop")
    session = get_session(context)
    with session.backend() as backend:
        found = _look(backend)
        if as_json:
            render.document(found)
        elif watch:
            found = _watch(session, backend, found)
        else:
            for part in screen(found, now=session.now):
                render.show(part)
    raise typer.Exit(EXIT_CODES[found["state"]])


def _look(backend: "Backend") -> dict[str, Any]:
    with backend.reading() as services:
        return services.status()


def _watch(session: Session, backend: "Backend", found: dict[str, Any]) -> dict[str, Any]:
    """Show the status repeatedly until Ctrl-C; return the last document."""
    from rich.live import Live

    out = render.console()
    # Shells start background jobs with SIGINT ignored, but this loop ends by KeyboardInterrupt only.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if not out.is_terminal:
            while True:
                render.line(line(found, now=session.now))
                time.sleep(REFRESH_SECONDS)
                found = _look(backend)
        with Live(Group(*screen(found, now=session.now)), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(REFRESH_SECONDS)
                found = _look(backend)
                live.update(Group(*screen(found, now=session.now)), refresh=True)
    except KeyboardInterrupt:
        return found


def line(found: Mapping[str, Any], *, now: float) -> str:
    """Format a status document as one line, for logs and pipes."""
    cursor, box = found["cursor"], found["outbox"]
    parts = [rfc3339(now), found["state"]]
    if cursor is not None:
        parts += [f"height={cursor['height']}", f"burn_height={cursor['burn_block_height']}"]
        parts += [f"{name}={value:g}" for name, value in found["lag"].items() if value is not None]
    parts += [f"{name}={number}" for name, number in found["intents"].items() if number]
    parts += [f"settle_backlog={due}"] if (due := found.get("settle_backlog")) else []
    parts += [f"set_aside={odd}"] if (odd := found.get("set_aside")) else []
    parts += [f"outbox={box['pending']}", f"dead={box['dead']}", f"attention={found['attention']}"]
    who = diagnose(found)
    return render.plain(" ".join(parts) + (f" - {'; '.join(who)}" if who else ""))


def screen(found: Mapping[str, Any], *, now: float) -> list[RenderableType]:
    """Format a status document for a terminal."""
    parts: list[RenderableType] = [render.card(_rows(found, now=now))]
    if found["sources"]:
        rows = [
            (
                source.get("url"),
                render.status_text(source.get("state", "unknown")),
                source.get("tip_height"),
                source.get("version"),
                f"{source['latency_ms']} ms" if source.get("latency_ms") is not None else None,
                source.get("errors"),
                source_note(source),
            )
            for source in found["sources"]
        ]
        columns = ("Source", "State", "Tip", "Version", "Latency", "Errors", "Note")
        parts += [Text(), render.table(columns, rows, right=("Tip", "Latency", "Errors"))]
    return parts


def source_note(source: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a source or its websocket, and how it is read if that is unusual."""
    socket = source.get("websocket")
    lost = f"websocket {socket}" if socket not in (None, "open") else None
    singly = "reads events one by one" if source.get("reading") == Reading.SINGLE else None
    return "; ".join(filter(None, (source.get("note"), lost, singly))) or None


def _rows(found: Mapping[str, Any], *, now: float) -> list[tuple[str, object]]:
    halted, cursor, tip = found["halted"], found["cursor"], found["tip"]
    database = found["database"]
    return [
        ("State", render.status_text(found["state"])),
        ("Why", render.lines(why, "yellow") if (why := _why(found)) else None),
        ("Halted", _halt(halted, now=now) if halted else None),
        ("Network", f"{found['network']} (version {found['version']})"),
        (
            "Cursor",
            _place(cursor, now=now) if cursor else "no block read yet: is `sbtc-watcher run` running?",
        ),
        ("Tip", f"{tip['height']:,}, {span(tip['age_seconds'])} old" if tip else None),
        ("Lag", _lag(found["lag"]) if cursor else None),
        ("Lagging", render.lines(who) if (who := diagnose(found)) else None),
        ("Reorgs", f"{found['reorgs_24h']:,} in 24 h" if cursor else None),
        ("Reindex", _reindex(found["reindex"]) if found["reindex"] else None),
        ("Intents", ", ".join(f"{n:,} {name}" for name, n in found["intents"].items() if n) or "none"),
        (
            "To settle",
            f"{render.count(due, 'intent')} left" if (due := found.get("settle_backlog")) else None,
        ),
        (
            "Set aside",
            f"{render.count(odd, 'intent')} that could not be settled: the log says why (unforeseen)"
            if (odd := found.get("set_aside"))
            else None,
        ),
        ("Oldest open", relative(found["oldest_pending"], now=now) if found["oldest_pending"] else None),
        (
            "Attention",
            f"{render.count(found['attention'], 'intent')}: sbtc-watcher intents list --attention"
            if found["attention"]
            else None,
        ),
        (
            "Unmatched",
            f"{render.count(found['unmatched'], 'transfer')}: sbtc-watcher transfers list --unmatched"
            if found["unmatched"]
            else None,
        ),
        ("Webhooks", _outbox(found["outbox"])),
        ("Follower", _follower(found["follower"]) if found.get("follower") else None),
        (
            "Database",
            f"{database['url']}, revision {database['revision']}, {size(database['bytes'])}"
            if database["url"] is not None  # None for a merchant
            else None,
        ),
    ]


def _why(found: Mapping[str, Any]) -> list[str]:
    """Return a line per problem with its hint; a halt has its own row."""
    return [
        f"{reason['message']}; {reason['hint']}" if reason["hint"] else str(reason["message"])
        for reason in found.get("reasons", ())
        if reason["code"] != "halted"
    ]


def _halt(halted: Mapping[str, Any], *, now: float) -> Text:
    since = f"since {relative(halted['since'], now=now)}"
    return render.lines([halted["message"], halted["hint"], since], "red")


def _place(cursor: Mapping[str, Any], *, now: float) -> str:
    return (
        f"{cursor['height']:,}, Bitcoin {cursor['burn_block_height']:,}, {relative(cursor['time'], now=now)}"
    )


def _lag(lag: Mapping[str, Any]) -> str:
    parts = [render.count(lag["blocks"], "block") if lag["blocks"] is not None else "blocks unknown"]
    for name, key in (("chain", "chain_seconds"), ("sources", "api_seconds"), ("us", "our_seconds")):
        if lag[key] is not None:
            parts.append(f"{name} {span(lag[key])}")
    return ", ".join(parts)


def _follower(follower: Mapping[str, Any]) -> Text:
    holder = render.plain(follower["holder"])
    if not follower["remaining_seconds"]:
        return Text(f"none; the last one was {holder}", style="yellow")
    return Text(f"{holder}, epoch {follower['epoch']:,}")


def _reindex(progress: Mapping[str, Any]) -> str:
    names = ("from", "to", "position", "found", "changes", "events", "corrections", "differences")
    counts = (f"{name} {progress[name]:,}" for name in names if progress.get(name) is not None)
    state = str(progress.get("state", "running"))
    if state == "interrupted":
        state += " (repeat the command to continue)"
    return ", ".join([state, *counts])


def _outbox(box: Mapping[str, Any]) -> Text:
    text = Text(f"{box['pending']:,} queued")
    if box["oldest_seconds"] is not None:
        text.append(f", oldest {span(box['oldest_seconds'])}")
    if box["held"]:
        text.append(f", {box['held']:,} held", style="yellow")
    if box["dead"]:
        text.append(f", {box['dead']:,} dead", style="red")
    for change in box.get("bulk_changes", ()):
        text.append(f", {change['kind']} of {change['endpoint']}: {change['done']:,} so far")
    if box["failing_endpoints"]:
        text.append(f", failing: {', '.join(box['failing_endpoints'])}", style="yellow")
    return text
