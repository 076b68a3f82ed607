"""Options shared by several commands."""

from typing import Annotated

import typer

from watcher.cli.session import Session
from watcher.errors import UsageError

#: Most rows of a page, as in :mod:`watcher.schemas.fields`, which would load pydantic just for a help text.
MAX_LIMIT = 100

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def _check_limit(rows: int) -> int:
    if not 1 <= rows <= MAX_LIMIT:
        raise typer.BadParameter(f"{rows} is not from 1 to {MAX_LIMIT}")
    return rows


LimitOption = Annotated[
    int,
    typer.Option("--limit", metavar="N", help=f"Rows per page, 1 to {MAX_LIMIT}.", callback=_check_limit),
]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Continue a list: the previous page's next_cursor."),
]
MerchantFilterOption = Annotated[
    str | None, typer.Option("--merchant", metavar="ID", help="Only this merchant's (mer_…).")
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
        help="The merchant's id (mer_…); omit it with --server and a merchant's API key.",
        callback=_require_merchant,
    ),
]
EndpointOption = Annotated[str, typer.Option("--endpoint", metavar="ID", help="The endpoint's id (we_…).")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]
ToleranceOption = Annotated[
    str | None, typer.Option("--tolerance", metavar="N", help="Accepted shortfall, in base units.")
]
LevelOption = Annotated[
    str | None,
    typer.Option(
        "--level", metavar="LEVEL", help="Depth: included, anchored, settled or stacks=1,bitcoin=3."
    ),
]
LatePolicyOption = Annotated[
    str | None,
    typer.Option(
        "--late-policy", metavar="POLICY", help="Late payments: hold them for a person, or accept them."
    ),
]
