"""Options that several commands share, so that they read the same everywhere."""

from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100, help="Rows of the page.")]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", metavar="ID", help="Continue a list: the next_cursor of the page before."),
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
LatePolicyName = Literal["hold", "accept"]
