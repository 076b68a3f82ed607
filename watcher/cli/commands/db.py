"""``db``: schema upgrades, backup and pruning."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcher.cli import format as formats
from watcher.cli import render
from watcher.cli.help import Commands
from watcher.cli.options import JsonOption
from watcher.cli.session import get_session
from watcher.errors import NotFound, UsageError

if TYPE_CHECKING:
    from watcher.store.database import URL

app = Commands("db", "Upgrade, back up and prune the database.")


@app.command()
def upgrade(context: typer.Context, as_json: JsonOption = False) -> None:
    """Upgrade the schema to this version's revision; `run` does the same when it starts."""
    session = get_session(context)
    session.log()
    with session.open(create=True) as database:
        before = database.revision()
        database.upgrade()
        after = database.revision()
    if as_json:
        render.document({"before": before, "revision": after})
    elif before == after:
        render.note(f"The database has revision {after} already.")
    else:
        render.note(f"The database went from {before or 'nothing'} to revision {after}.")


@app.command()
def current(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show the schema's revision and the one that this version needs; exit 1 if they differ."""
    from watcher.store.database import NEWER_DATABASE_HINT, Database

    session = get_session(context)
    found = {"url": session.settings.database_url_masked, "revision": None, "head": Database.head()}
    try:
        with session.open() as database:
            found["revision"] = database.revision()
    except NotFound as error:
        render.note(f"{error}.")
    if as_json:
        render.document(found)
    else:
        rows = [
            ("Database", found["url"]),
            ("Revision", found["revision"] or "none"),
            ("Needed", found["head"]),
        ]
        render.show(render.card(rows))
    if found["revision"] != found["head"]:
        newer = found["revision"] is not None and not Database.knows(found["revision"])
        render.note(
            f"Newer than this version: {NEWER_DATABASE_HINT}." if newer else "Run `sbtc-watcher db upgrade`."
        )
        raise typer.Exit(1)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Where to write the copy; an existing file is not overwritten."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy the database to FILE, consistently, even while the daemon runs.

    SQLite only: PostgreSQL has pg_dump.

    Example: sbtc-watcher db backup /var/backups/sbtc-watcher-$(date +%F).db
    """
    from watcher.store import sqlite_file

    session = get_session(context)
    session.log()
    with session.open() as database:
        if database.file is None:
            raise UsageError(
                "db backup copies SQLite only, and this database is on PostgreSQL",
                hint=shlex.join(["pg_dump", "--format=custom", f"--file={file}", _for_pg_dump(database.url)]),
            )
        revision = database.revision()
        size = sqlite_file.backup(database.file, file)
    found = {"file": str(file.absolute()), "bytes": size, "revision": revision}
    if as_json:
        render.document(found)
    else:
        render.note(f"Copied to {found['file']}, {formats.size(size)}.")


@app.command()
def prune(context: typer.Context, as_json: JsonOption = False) -> None:
    """Empty old event bodies and logged responses, delete headers that no reorg can reach.

    Old means older than retention_days. The daemon does this every hour.
    Rows of events, intents and transfers are kept forever.
    """
    from watcher.daemon import periodic

    session = get_session(context)
    session.log()
    with session.database() as database:
        found = {
            "bodies": periodic.prune_outbox(session.settings, database),
            "idempotency": periodic.prune_idempotency(database),
            "sign_ins": periodic.prune_sign_ins(session.settings, database),
            "visitors": periodic.prune_visitors(database),
            "headers": periodic.thin_headers(session.settings, database),
        }
    if as_json:
        render.document(found)
    else:
        headers = render.count(found["headers"], "header")
        render.note(f"Bodies and responses emptied: {found['bodies']:,}. {headers} deleted.")


def _for_pg_dump(url: "URL") -> str:
    """Return the URL in libpq's form, without the password, which other users could see in `ps`."""
    parts: dict[str, Any] = {
        "username": url.username,
        "host": url.host,
        "port": url.port,
        "database": url.database,
    }
    return type(url).create("postgresql", **parts, query=url.query).render_as_string()
