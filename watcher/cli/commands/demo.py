"""``demo``: the whole program in one terminal, or in a browser."""

from typing import Annotated

import typer

from watcher.errors import UsageError


def demo(
    fast: Annotated[
        bool, typer.Option("--fast", help="Skip the pauses that make the output readable.")
    ] = False,
    web: Annotated[
        bool,
        typer.Option("--web", help="Serve the pages and a shop for your browser, and pay on request."),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65534,
            help="With --web: the port of the pages; the shop has the next one. 0: any free ones. "
            "Default: 8430.",
        ),
    ] = None,
) -> None:
    """Play payments, failures and reorgs on a scripted chain in this terminal: no network, no set-up.

    Exit code 0 only if every expected webhook arrived.

    With --web a browser shows it until Ctrl-C: checkout, shop, dashboard, and a chain with buttons.
    """
    if fast and web:
        raise UsageError("--fast is for the demo in the terminal; leave it out with --web")
    if port is not None and not web:
        raise UsageError("--port is for the demo in the browser", hint="sbtc-watcher demo --web --port 8440")
    if web:
        from watcher.demo import web as pages

        raise typer.Exit(pages.run(pages.PORT if port is None else port))
    from watcher import demo as play

    raise typer.Exit(play.run(fast))
