"""``demo``: the whole program in one terminal."""

from typing import Annotated

import typer


def demo(
    fast: Annotated[
        bool, typer.Option("--fast", help="Skip the pauses that make the output readable.")
    ] = False,
) -> None:
    """Play payments, failures and reorgs on a scripted chain in this terminal: no network, no set-up.

    Exit code 0 only if every expected webhook arrived.
    """
    from watcher import demo as play

    raise typer.Exit(play.run(fast))
