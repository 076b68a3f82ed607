"""``db``: the database's schema and upkeep."""

import typer

from watcher.cli import render
from watcher.cli.look import Commands
from watcher.cli.options import Json
from watcher.cli.session import of

app = Commands("db", "Bring the database's schema up to date; prune what is old.")


@app.command()
def upgrade(context: typer.Context, as_json: Json = False) -> None:
    """Bring the schema to this version's revision; `run` does the same at its start."""
    session = of(context)
    session.log()
    with session.open() as database:
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
def current(context: typer.Context, as_json: Json = False) -> None:
    """Show the schema's revision, and the one that this version needs; exit 1 when they differ."""
    with of(context).open() as database:
        found = {"url": database.safe_url, "revision": database.revision(), "head": database.head()}
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
        render.note("Run `sbtc-watcher db upgrade`.")
        raise typer.Exit(1)


@app.command()
def prune(context: typer.Context, as_json: Json = False) -> None:
    """Empty bodies and answers older than retention_days, delete headers that no reorg can reach.

    The daemon does it every hour. Rows of events, intents and transfers stay for ever.
    """
    from watcher import jobs

    session = of(context)
    session.log()
    with session.database() as database:
        found = {
            "bodies": jobs.prune_outbox(session.settings, database),
            "idempotency": jobs.prune_idempotency(database),
            "headers": jobs.thin_headers(session.settings, database),
        }
    if as_json:
        render.document(found)
    else:
        headers = render.count(found["headers"], "header")
        render.note(f"Bodies and answers emptied: {found['bodies']:,}. {headers} deleted.")
