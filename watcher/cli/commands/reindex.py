"""``reindex``: read blocks again, add missing rows, correct wrong ones, settle the changed intents."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from watcher.cli import render
from watcher.cli.options import JsonOption
from watcher.cli.progress import ProgressDisplay
from watcher.cli.session import Session, get_session, read_moment
from watcher.errors import UsageError

if TYPE_CHECKING:
    from watcher.indexer.settle_result import Change
    from watcher.reindex.accept_reorg import Acceptance
    from watcher.reindex.diff import Difference
    from watcher.reindex.report import ReindexRequest, Report
    from watcher.store.database import Database

_T = TypeVar("_T")

#: Most changed intents, corrections and differences printed as text; ``--json`` has all.
MAX_ROWS_SHOWN = 50


def reindex(
    context: typer.Context,
    start: Annotated[
        int | None, typer.Option("--from", metavar="H", min=1, help="The first block to read.")
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="H", min=1, help="The last block to read. Default: the newest that was read."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Instead of --from: 2d for two days ago, or a time."),
    ] = None,
    intent: Annotated[
        str | None,
        typer.Option("--intent", metavar="ID", help="Only this intent's payments, since its not_before."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
    no_notify: Annotated[
        bool, typer.Option("--no-notify", help="Write events, but deliver no webhooks for them.")
    ] = False,
    accept_reorg: Annotated[
        bool,
        typer.Option(
            "--accept-reorg",
            help="Undo blocks down to the fork, not below --from, and apply the sources' branch.",
        ),
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why the branch is right, for the record.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read blocks again beside the running daemon; add missing rows, correct wrong ones.

    A wrong row is corrected once a second reading confirms it, by another
    source if there are several. Nothing is deleted or sent twice. To continue
    an interrupted run, repeat the command.

    Example: sbtc-watcher reindex --since 2d --dry-run
    """
    session = get_session(context)
    _check(start, to, since, intent, accept_reorg, reason)
    now = session.now
    moment = read_moment(since, "--since", now=now)
    session.log()
    with session.database() as database, ProgressDisplay() as progress:
        if accept_reorg:
            assert start is not None, "checked"
            accepted = _run(_accept(session, database, progress, start, reason or "", dry_run, no_notify))
        else:
            from watcher.reindex.report import ReindexRequest

            request = ReindexRequest(
                start=start,
                since=moment,
                since_text=since,
                to=to,
                intent=intent,
                notify=not no_notify,
                dry_run=dry_run,
            )
            report = _run(_reindex(session, database, progress, request))
    if as_json:
        render.document(accepted.document() if accept_reorg else report.document())
    elif accept_reorg:
        _show_acceptance(accepted)
    else:
        _show_report(report, notified=not no_notify)


def _check(
    start: int | None,
    to: int | None,
    since: str | None,
    intent: str | None,
    accept_reorg: bool,
    reason: str | None,
) -> None:
    if start is not None and since is not None:
        raise UsageError("--from and --since exclude each other")
    if accept_reorg:
        if start is None or not (reason or "").strip():
            raise UsageError(
                "--accept-reorg needs --from and --reason",
                hint="`sbtc-watcher status` says where the chain forked",
            )
        if to is not None or since is not None or intent is not None:
            raise UsageError("--accept-reorg goes with --from and --reason only, not with --to or --intent")
    elif reason is not None:
        raise UsageError("--reason goes with --accept-reorg")
    elif start is None and since is None and intent is None:
        raise UsageError(
            "--from, --since or --intent is needed",
            hint="e.g. --since 2d; try it with --dry-run first",
        )


def _run(work: Any) -> Any:
    from watcher import event_loop

    try:
        return event_loop.run(work)
    except KeyboardInterrupt:
        render.note("Interrupted. What is done is kept; repeat the command to continue.")
        raise


async def _reindex(
    session: Session, database: "Database", progress: ProgressDisplay, request: "ReindexRequest"
) -> "Report":
    from watcher.reindex.run import Reindex

    async with _opened(Reindex, session, database, progress.show) as run:
        report = await run.run(request)
    progress.done(report)
    return report


async def _accept(
    session: Session,
    database: "Database",
    progress: ProgressDisplay,
    lowest: int,
    reason: str,
    dry_run: bool,
    no_notify: bool,
) -> "Acceptance":
    from watcher.reindex.accept_reorg import Accept

    async with _opened(Accept, session, database, progress.say) as accept:
        return await accept.run(
            lowest=lowest, reason=reason, actor=session.actor, dry_run=dry_run, notify=not no_notify
        )


@asynccontextmanager
async def _opened(
    kind: Callable[..., _T], session: Session, database: "Database", show: Callable[[Any], None]
) -> AsyncIterator[_T]:
    """Make a ``Reindex`` or ``Accept`` on the session's sources, which are closed at the end."""
    from watcher.daemon import wiring
    from watcher.reindex.retrying_source import Sources

    settings = session.settings
    ledger = wiring.make_ledger(settings, database)
    await asyncio.to_thread(ledger.cursor)  # refuses a database of another network
    pool = wiring.make_pool(settings, database)
    try:
        sources = Sources(pool, network=settings.network.value)
        yield kind(database, ledger.rules, ledger.settler, sources, wiring.fetch_rules(settings), show=show)
    finally:
        await pool.aclose()


# Output


def _show_report(report: "Report", *, notified: bool) -> None:
    counts = report.counts
    _show_changes(report.changes)
    would = "would be " if report.dry_run else ""
    _show_rows(f"Rows that contradict the chain; they {would or 'were '}corrected", report.corrections)
    _show_rows("Left unchanged: no source confirms it, or says what became of it", report.differences)
    for count in (counts.corrections, counts.differences):
        if count > MAX_ROWS_SHOWN:
            render.note(f"… and {count - MAX_ROWS_SHOWN:,} more: --json lists them.")
    refunds = f"{render.count(counts.refunds, 'refund')} {would}added, " if counts.refunds else ""
    corrected = f"{render.count(counts.corrections, 'row')} {would}corrected, " if counts.corrections else ""
    render.note(
        f"Blocks {report.bottom:,} to {report.top:,}: {render.count(counts.transfers, 'transfer')} of ours, "
        f"{counts.found:,} of them {would}added, {refunds}{corrected}"
        f"{render.count(counts.changes, 'change')}, {render.count(counts.events, 'event')}"
        + ("" if report.dry_run or not counts.events else _delivery(notified))
        + "."
    )


def _show_rows(title: str, rows: "list[Difference]") -> None:
    if rows:
        listed = [(row.row, row.height, row.intent, row.note) for row in rows[:MAX_ROWS_SHOWN]]
        render.show(render.heading(title))
        render.show(render.table(("Row", "Height", "Intent", "Note"), listed, right=("Height",)))


def _delivery(notified: bool) -> str:
    return ", which the daemon delivers" if notified else ", which are not delivered"


def _show_acceptance(accepted: "Acceptance") -> None:
    if accepted.fork is None:
        render.note("Nothing to accept: the sources show no other branch than ours.")
        return
    _show_changes(accepted.changes)
    would = "would be " if accepted.dry_run else ""
    assert accepted.tip is not None, "a branch has a tip"
    render.note(
        f"Forked at {accepted.fork.height:,}: {render.count(accepted.orphaned, 'block')} {would}undone, "
        f"{render.count(accepted.blocks, 'block')} {would}applied, up to {accepted.tip.height:,} "
        f"{accepted.tip.hash}; {render.count(len(accepted.changes), 'intent')} {would}changed."
    )
    if accepted.untried:
        render.note(f"{render.count(accepted.untried, 'more intent')} due on the branch: not tried.")


def _show_changes(changes: "list[Change]") -> None:
    if not changes:
        return
    rows = []
    for change in changes[:MAX_ROWS_SHOWN]:
        event_types = [event["type"].removeprefix("payment.") for event in change.events]
        rows.append(
            (
                change.intent,
                _both(change.before["status"], change.after["status"]),
                _both(change.before["amount_received"], change.after["amount_received"]),
                ", ".join(change.after["flags"]),
                ", ".join(event_types),
            )
        )
    render.show(render.table(("Intent", "Status", "Received", "Flags", "Events"), rows, right=("Received",)))
    if len(changes) > MAX_ROWS_SHOWN:
        render.note(f"… and {len(changes) - MAX_ROWS_SHOWN:,} more: --json lists them.")


def _both(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
