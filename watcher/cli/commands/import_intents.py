"""``intents import``: create the intents of a file, in batches of one transaction each."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from watcher.cli import render
from watcher.cli.csv_rows import Format, Row, format_of, read
from watcher.cli.options import JsonOption, MerchantOption
from watcher.cli.session import get_session, request_of
from watcher.errors import Refused, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from watcher.cli.backends.protocol import Backend

#: Most intents in one batch, and most bytes of their documents: below a server's limits for one request.
MAX_BATCH_INTENTS = 200
MAX_BATCH_BYTES = 1024 * 1024


#: Pause between two batches, seconds; longer than the interval at which SQLite retries for its lock.
BATCH_PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Outcome:
    """The result of an import."""

    #: First line not known to be stored; a later import continues there.
    continue_at: int
    #: Stored intents: ``{line, id, reference}``.
    intents: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .csv or .jsonl file; - is standard input.")],
    merchant: MerchantOption = None,
    format_: Annotated[
        Format | None,
        typer.Option("--format", metavar="FORMAT", help="csv or jsonl. Default: from the file's name."),
    ] = None,
    from_line: Annotated[
        int,
        typer.Option("--from-line", metavar="N", help="Continue an import: skip the lines before N.", min=1),
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Create the intents of a file, in batches of at most 200.

    A batch with an error is not stored, and the import stops there.

    The fields are those of `intents create`: amount, asset, reference,
    expires_in, … A CSV file names them in its first line, metadata as
    metadata.order_id; empty cells are left out. Standard input is read as
    CSV unless --format says otherwise.

    With --server, a batch that was stored within the last 24 hours (the same
    lines at the same place in the file) is not stored again.

    Example: sbtc-watcher intents import orders.csv --merchant mer_…
    """
    session = get_session(context)
    kind = format_ or format_of(file)
    outcome = Outcome(continue_at=from_line)
    try:
        with session.backend() as backend, _opened(file) as source, _progress(source) as progress:
            rows = (row for row in read(kind, source) if row.line >= from_line)
            for batch in _batches(rows):
                outcome.continue_at = batch[0].line
                _store(backend, merchant, batch, outcome)
                if outcome.errors:
                    break
                progress.update(
                    progress.task_ids[0], completed=_position(source), stored=len(outcome.intents)
                )
                if len(batch) == MAX_BATCH_INTENTS:
                    # An import would otherwise keep SQLite's only write lock from the daemon.
                    time.sleep(BATCH_PAUSE_SECONDS)
            repeated = backend.repeated
    except BaseException:
        if outcome.intents:
            stored = render.count(len(outcome.intents), "intent")
            render.note(f"{stored} imported; continue with --from-line {outcome.continue_at}")
        raise
    _print_outcome(outcome, as_json)
    if repeated:
        were = "1 batch was" if repeated == 1 else f"{repeated:,} batches were"
        render.note(f"Of these, {were} stored already and not stored again.")
    raise typer.Exit(2 if outcome.errors else 0)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Group rows into batches; deterministic, so that a repeated import sends the same batches."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        more = len(_encoded(row.document))
        if batch and (len(batch) == MAX_BATCH_INTENTS or size + more > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def _store(backend: "Backend", merchant: str | None, batch: list[Row], outcome: Outcome) -> None:
    """Store a batch, or collect all its errors."""
    from watcher.schemas import NewPaymentIntents

    try:
        # An unreadable line has no document: the batch is refused, and the other lines are still validated.
        request = request_of(NewPaymentIntents, intents=[row.document for row in batch], merchant=merchant)
        with backend.writing(idempotency_key=_idempotency_key(merchant, batch)) as services:
            made = services.create_intents(request)["data"]
    except Refused as refused:
        outcome.errors += _explain(batch, refused)
        return
    outcome.intents += [
        {"line": row.line, "id": intent["id"], "reference": intent["reference"]}
        for row, intent in zip(batch, made, strict=True)
    ]
    # Not the next row's line: blank lines may follow, or the end of the file.
    outcome.continue_at = batch[-1].line + 1


def _idempotency_key(merchant: str | None, batch: list[Row]) -> str:
    """Return the batch's idempotency key: the same for the same lines at the same place in the file."""
    digest = hashlib.sha256(f"{merchant}\n".encode())
    for row in batch:
        digest.update(f"{row.line}:".encode() + _encoded(row.document) + b"\n")
    return f"import-{batch[0].line}-{digest.hexdigest()}"


def _encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _explain(batch: list[Row], refused: Refused) -> list[dict[str, Any]]:
    """Map errors of fields such as ``intents.3.amount`` to lines: ``{line, field, message}``."""
    errors: list[dict[str, Any]] = []
    for error in refused.errors:
        place, _, field = error["field"].removeprefix("intents.").partition(".")
        if not place.isdigit() or int(place) >= len(batch):
            raise refused
        row = batch[int(place)]
        unread = row.error is not None
        problem = {
            "line": row.line,
            "field": None if unread else field or None,
            "message": row.error if unread else error["message"],
        }
        if problem not in errors:
            errors.append(problem)
    if not errors:
        raise refused
    return errors


def _print_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        render.document(
            {
                "imported": len(outcome.intents),
                "intents": outcome.intents,
                "errors": outcome.errors,
                "continue_at_line": outcome.continue_at if outcome.errors else None,
            }
        )
        return
    render.line(f"{render.count(len(outcome.intents), 'intent')} imported")
    for error in outcome.errors:
        about = f"{error['field']}: " if error["field"] else ""
        render.error(f"line {error['line']}: {about}{error['message']}")
    if outcome.errors:
        render.note(
            f"Nothing from line {outcome.continue_at} on is stored. Correct the file, then continue with"
            f" --from-line {outcome.continue_at}"
        )


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: SIM115 - closed below; only errors of opening are explained
    except OSError as error:
        raise UsageError(f"FILE: cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    with source:
        yield source


@contextmanager
def _progress(source: BinaryIO) -> Iterator["Progress"]:
    """Show on stderr how much of the file is read, if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("intents: {task.fields[stored]:,}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        progress.add_task("import", total=_size(source), stored=0)
        yield progress


def _size(source: BinaryIO) -> int | None:
    """Return the file's size in bytes, None for a pipe."""
    if not source.seekable():
        return None
    position = source.tell()
    size = source.seek(0, os.SEEK_END)
    source.seek(position)
    return size


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0
