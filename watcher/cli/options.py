"""Options that several commands share, so that they read the same everywhere."""

from typing import Annotated

import typer

#: Rows of a page at most, as in :mod:`watcher.queries`.
MAX_LIMIT = 100

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def _check_limit(rows: int) -> int:
    if not 1 <= rows <= MAX_LIMIT:
        raise typer.BadParameter(f"{rows} is not from 1 to {MAX_LIMIT}")
    return rows


Limit = Annotated[
    int,
    typer.Option("--limit", metavar="N", help=f"Rows of the page, 1 to {MAX_LIMIT}.", callback=_check_limit),
]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Continue a list: the next_cursor of the page before."),
]
OfMerchant = Annotated[
    str | None, typer.Option("--merchant", metavar="ID", help="Only what belongs to this merchant (mer_…).")
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level", metavar="LEVEL", help="Depth: included, anchored, settled or stacks=1,bitcoin=3."
    ),
]
LatePolicy = Annotated[
    str | None,
    typer.Option("--late-policy", metavar="POLICY", help="Late money: hold it for a person, or accept it."),
]
