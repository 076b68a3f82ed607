"""The program's entry point: global options, command list, error messages and exit codes.

Exit codes: 0 ok, 1 degraded or not found, 2 usage or settings, 3 halted or unreachable, 130 after Ctrl-C,
141 when the reader of the output went away. An expected error is a message and a hint on stderr; a bug is a
traceback.
"""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from chain.errors import ChainError
from notifier.errors import InvalidEndpoint, NotifierError
from notifier.errors import NotFound as NotifierNotFound
from watcher import __version__
from watcher.cli import output, render
from watcher.cli.commands import (
    check,
    db,
    deliveries,
    demo,
    endpoints,
    events,
    intents,
    links,
    listen,
    login_link,
    merchants,
    reindex,
    run,
    status,
    transfers,
    trigger,
    verify,
)
from watcher.cli.help import Commands
from watcher.cli.session import KEY_VARIABLE, SERVER_VARIABLE, Session, read_key
from watcher.errors import UsageError, WatcherError
from watcher.journal import is_journal, with_priority

PROGRAM = "sbtc-watcher"

#: Exit codes by shell convention: stopped by SIGINT (128 + 2), and by SIGPIPE (128 + 13).
INTERRUPTED = 130
READER_GONE = 141

#: Commands that need this machine: its database, its chain sources or its ports. Refused with --server.
LOCAL = frozenset({"demo", "run", "reindex", "check", "listen", "db"})

app = Commands(
    PROGRAM,
    "Follow the Stacks chain, match sBTC and STX payments to payment intents, notify merchants by signed"
    " webhooks.",
    epilog="Start with `sbtc-watcher demo`: the whole program in one terminal, no network, no set-up.",
    add_completion=True,
)

_DAEMON, _PAYMENTS, _WEBHOOKS, _DATABASE = "Daemon", "Payments", "Webhooks", "Database"
app.command("demo", rich_help_panel=_DAEMON)(demo.demo)
app.command("run", rich_help_panel=_DAEMON)(run.run)
app.command("status", rich_help_panel=_DAEMON)(status.status)
app.command("reindex", rich_help_panel=_DAEMON)(reindex.reindex)
app.command("check", rich_help_panel=_DAEMON)(check.check)
app.add_typer(merchants.app, rich_help_panel=_PAYMENTS)
app.command("login-link", rich_help_panel=_PAYMENTS)(login_link.login_link)
app.add_typer(intents.app, rich_help_panel=_PAYMENTS)
app.add_typer(links.app, rich_help_panel=_PAYMENTS)
app.add_typer(transfers.app, rich_help_panel=_PAYMENTS)
app.command("listen", rich_help_panel=_WEBHOOKS)(listen.listen)
app.command("verify", rich_help_panel=_WEBHOOKS)(verify.verify)
app.command("trigger", rich_help_panel=_WEBHOOKS)(trigger.trigger)
app.add_typer(endpoints.app, rich_help_panel=_WEBHOOKS)
app.add_typer(events.app, rich_help_panel=_WEBHOOKS)
app.add_typer(deliveries.app, rich_help_panel=_WEBHOOKS)
app.add_typer(db.app, rich_help_panel=_DATABASE)


def _show_version(wanted: bool) -> None:
    if wanted:
        render.line(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings file (TOML). Default: $SBTC_WATCHER_CONFIG, else /etc/sbtc-watcher/config.toml.",
            show_default=False,
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Use the daemon's HTTP API at this URL instead of this machine's database.",
            envvar=SERVER_VARIABLE,
            show_default=False,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="With --server: a merchant's API key or the admin token. Other users can see it in `ps`:"
            " prefer the variable or --api-key-file.",
            envvar=KEY_VARIABLE,
            show_default=False,
        ),
    ] = None,
    api_key_file: Annotated[
        str | None,
        typer.Option(
            "--api-key-file", metavar="FILE", help="A file that holds the key; - is standard input."
        ),
    ] = None,
    allow_http: Annotated[
        bool,
        typer.Option(
            "--allow-http",
            help="Allow an http:// --server on another machine: the key is sent in clear text.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Store the global options for the command."""
    if server and context.invoked_subcommand in LOCAL:
        raise UsageError(
            f"`{context.invoked_subcommand}` works on the daemon's own machine only, not with --server"
        )
    context.obj = Session(
        config=config,
        verbose=verbose,
        server=server or None,
        key=lambda: read_key(api_key, api_key_file),
        allow_http=allow_http,
    )


def main() -> None:
    """Run this process's command line and exit with its code."""
    output.install()
    try:
        sys.exit(call(sys.argv[1:]))
    except Exception:
        if not is_journal(sys.stderr):
            raise
        sys.stderr.write(with_priority(traceback.format_exc().rstrip(), logging.CRITICAL) + "\n")
        sys.exit(1)


def call(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Unexpected exceptions propagate."""
    try:
        code = get_command(app).main(list(arguments), PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except (render.ReaderGone, BrokenPipeError):
        # Python would report an error at exit for what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        known = _explain(_unwrap(error))
        if known is None:
            raise
        message, hint, code = known
        if "-v" in arguments or "--verbose" in arguments:
            traceback.print_exc()
        if message:
            render.error(message, hint)
        return code
    return code if isinstance(code, int) else 0


def _unwrap(error: Exception) -> Exception:
    """Unwrap an exception group that holds a single exception."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _explain(error: Exception) -> tuple[str, str, int] | None:
    """Return (message, hint, exit code) of an expected error, None for a bug."""
    if isinstance(error, WatcherError):
        return str(error), error.hint, error.exit_code
    if isinstance(error, NotifierNotFound):
        return str(error), f"`{PROGRAM} {_PLURALS.get(error.kind, error.kind)} list` shows them", 1
    if isinstance(error, InvalidEndpoint):
        return f"{error.field}: {error}", "", 2
    if isinstance(error, NotifierError):
        return str(error), "", 2
    if isinstance(error, ChainError):
        return str(error), getattr(error, "hint", ""), 3
    if isinstance(error, typer.TyperException):
        return _explain_usage(error)
    return None


def _explain_usage(error: typer.TyperException) -> tuple[str, str, int]:
    """Explain a usage error of typer; the message is empty if help was printed instead."""
    context = getattr(error, "ctx", None)
    # Drop the prefix that pydantic, which parses typer's values, puts before messages.
    message = error.format_message().replace(": Value error, ", ": ")
    hint = f"`{context.command_path} --help` shows what it takes" if context is not None and message else ""
    return message, hint, error.exit_code


_PLURALS = {"endpoint": "endpoints", "event": "events", "delivery": "deliveries"}
