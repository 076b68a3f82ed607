"""``check``: verify settings, database and sources before the daemon runs."""

from typing import Annotated, Any

import typer
from rich.text import Text

from watcher.cli import render
from watcher.cli.options import JsonOption
from watcher.cli.session import get_session
from watcher.errors import NotFound, WatcherError

_SIGNS = {"ok": ("✓", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def check(
    context: typer.Context,
    show: Annotated[
        bool, typer.Option("--show", help="Print the merged settings instead, secrets masked.")
    ] = False,
    assets: Annotated[
        bool, typer.Option("--assets", help="Compare only the assets with their contracts.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check settings, database, sources, contracts, assets, clock and endpoints: one line each.

    Exit code 0 if nothing is wrong, 1 for warnings, 3 if the daemon could not work.
    """
    session = get_session(context)
    settings = session.settings
    if show:
        shown = settings.show()
        if as_json:
            render.document(shown)
        else:
            render.show(render.card([(name, _setting(value)) for name, value in shown.items()]))
        return
    session.log()
    from watcher import event_loop
    from watcher.cli import checks
    from watcher.config.load import config_file
    from watcher.daemon import runtime_file

    findings = [] if assets else checks.check_settings(settings)
    if not assets:
        try:
            runtime_file.check(settings, config_file(session.config), write=True)
            with session.open() as database:
                findings += checks.check_database(database, settings)
        except NotFound as error:
            findings.append(checks.warning("database", f"{error}. {error.hint}"))
        except WatcherError as error:
            findings.append(checks.error("database", f"{error}. {error.hint}", exit_code=error.exit_code))
        findings += event_loop.run(checks.check_sources(settings))
    findings += event_loop.run(checks.check_asset_contracts(settings, required=assets))
    if as_json:
        render.document({"checks": [finding.document() for finding in findings]})
    else:
        for finding in findings:
            sign, style = _SIGNS[finding.level]
            text = render.plain(f"{finding.subject}: {finding.text}")
            render.show(Text.assemble((f"{sign} ", style), text))
    raise typer.Exit(max(finding.exit_code for finding in findings))


def _setting(value: Any) -> Text:
    if isinstance(value, dict):
        return render.lines([f"{name}: {_word(entry)}" for name, entry in value.items()])
    return render.cell(_word(value))


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_word(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return (
            "; ".join(map(_word, value))
            if value and isinstance(value[0], dict)
            else ", ".join(map(_word, value))
        )
    return "" if value is None else str(value)
