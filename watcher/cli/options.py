"""Options that several commands share, so that they read the same everywhere."""

from typing import Annotated

import typer

from watcher.cli.session import Session
from watcher.errors import UsageError

#: Rows of a page at most, as in :mod:`watcher.services.queries`.
MAX_LIMIT = 100

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def _check_limit(rows: int) -> int:
    if not 1 <= rows <= MAX_LIMIT:
        raise typer.BadParameter(f"{rows} is not from 1 to {MAX_LIMIT}")
    return rows


LimitOption = Annotated[
    int,
    typer.Option("--limit", metavar="N", help=f"Rows of the page, 1 to {MAX_LIMIT}.", callback=_check_limit),
]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Continue a list: the next_cursor of the page before."),
]
MerchantFilterOption = Annotated[
    str | None, typer.Option("--merchant", metavar="ID", help="Only what belongs to this merchant (mer_…).")
]


def _require_merchant(context: typer.Context, merchant: str | None) -> str | None:
    session = context.obj
    if merchant is None and isinstance(session, Session) and session.server is None:
        raise UsageError(
            "Missing option '--merchant'", hint=f"`{context.command_path} --help` shows what it takes"
        )
    return merchant


MerchantOption = Annotated[
    str | None,
    typer.Option(
        "--merchant",
        metavar="ID",
        help="Whose it is (mer_…); with --server a merchant's API key says it.",
        callback=_require_merchant,
    ),
]
LevelOption = Annotated[
    str | None,
    typer.Option(
        "--level", metavar="LEVEL", help="Depth: included, anchored, settled or stacks=1,bitcoin=3."
    ),
]
LatePolicyOption = Annotated[
    str | None,
    typer.Option("--late-policy", metavar="POLICY", help="Late money: hold it for a person, or accept it."),
]
