"""``run``: the daemon."""

from typing import Annotated

import typer

from watcher.cli.session import get_session
from watcher.errors import UsageError

ROLES = ("follower", "notifier", "api")


def run(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Catch up, deliver what is due, and exit; for cron and tests.")
    ] = False,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            metavar="ROLES",
            help="all, or a comma-separated list of follower, notifier and api.",
        ),
    ] = "all",
) -> None:
    """Run the daemon: follow the chain, settle intents, deliver webhooks.

    Ctrl-C, SIGTERM or a closed terminal stops it. Several processes can share
    a PostgreSQL database. On one machine each needs its own http_bind (port 0:
    any free port); without the role api, a process whose port is taken runs
    without HTTP.

    Example: sbtc-watcher run --role notifier
    """
    roles = read_roles(role)
    session = get_session(context)
    session.log(daemon=True)
    from watcher.config.load import config_file
    from watcher.daemon import main as daemon_main
    from watcher.daemon import runtime_file

    config = config_file(session.config)
    runtime_file.check(session.settings, config)
    with runtime_file.announce(session.settings, config):
        code = daemon_main.run(session.settings, roles, once)
    raise typer.Exit(code)


def read_roles(text: str) -> frozenset[str]:
    """Read ``all`` or a list of roles. Raises :class:`UsageError`."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - {*ROLES, "all"})
    if unknown or not names:
        what = f"{unknown[0]!r} is not a role" if unknown else "no role is named"
        raise UsageError(f"--role: {what}", hint=f"write all, or a list of {', '.join(ROLES)}")
    return frozenset(ROLES) if "all" in names else frozenset(names)
