"""``listen``: a webhook receiver for development, which verifies and prints each webhook."""

import asyncio
import json
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcher.cli import render
from watcher.errors import UsageError

if TYPE_CHECKING:
    from aiohttp import web
    from standardwebhooks import Webhook

HOST = "127.0.0.1"

#: Limit of a request body; the watcher's webhooks are far smaller.
MAX_BODY_BYTES = 1024 * 1024


def listen(
    secret: Annotated[
        str, typer.Option("--secret", metavar="SECRET", help="The endpoint's secret (whsec_…).")
    ],
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="The port on 127.0.0.1.", min=0, max=65535)
    ] = 8421,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show each webhook's headers and body.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
) -> None:
    """Receive webhooks on this machine, verify and show them, until Ctrl-C.

    They are verified with the standardwebhooks library. The answer is 200 to
    a valid webhook, 401 to another, so that it is sent again. The daemon needs
    webhook_allow_http and webhook_allow_private to send here.

    Example: sbtc-watcher listen --secret whsec_…
    """
    from standardwebhooks import Webhook

    from notifier.signing import secret_key

    try:
        if not secret_key(secret):
            raise ValueError("the webhook secret is empty")
    except ValueError as error:
        raise UsageError(
            f"--secret: {error}", hint="`endpoints add` and `endpoints rotate-secret` print it"
        ) from None
    asyncio.run(_serve(port, Webhook(secret), verbose=verbose, as_json=as_json))


async def _serve(port: int, verifier: "Webhook", *, verbose: bool, as_json: bool) -> None:
    from aiohttp import web

    async def receive(request: web.Request) -> web.Response:
        arrival = judge(verifier, dict(request.headers), await request.read())
        arrival = {"received_at": _now(), "path": request.path, **arrival}
        try:
            if as_json:
                render.line(json.dumps(arrival, ensure_ascii=True))
            else:
                _show(arrival, headers=dict(request.headers) if verbose else None)
        except Exception as error:
            # One webhook that cannot be shown must not end the receiver.
            render.note(f"A webhook was received that cannot be shown: {type(error).__name__}.")
        if arrival["verified"]:
            return web.Response()
        return web.Response(status=401, text=arrival["refused"])

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/{path:.*}", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await _open(runner, port)
        render.note(f"Listening on http://{HOST}:{runner.addresses[0][1]}/ until Ctrl-C.")
        await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await runner.cleanup()


async def _open(runner: "web.AppRunner", port: int) -> None:
    from aiohttp import web

    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"--port: cannot listen on {HOST}:{port}: {reason}", hint="choose another") from None


def judge(verifier: "Webhook", headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """Verify a webhook; return ``{verified, refused, id, event}``.

    ``refused`` is the reason or None, ``event`` the body if it is JSON, else None.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    refused = None
    try:
        verifier.verify(body, lower)
    except Exception as error:
        # The library raises errors of several kinds for malformed input; all mean: not accepted.
        refused = str(error) or type(error).__name__
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    return {
        "verified": refused is None,
        "refused": refused,
        "id": lower.get("webhook-id"),
        "event": event,
    }


def _show(arrival: dict[str, Any], *, headers: dict[str, str] | None) -> None:
    from rich.text import Text

    event = arrival["event"] if isinstance(arrival["event"], dict) else {}
    data = event.get("data")
    intent = data.get("payment_intent") if isinstance(data, dict) else None
    about = (
        [intent.get("id"), intent.get("status"), *_list(intent.get("flags"))]
        if isinstance(intent, dict)
        else []
    )
    words = [arrival["received_at"][11:19], "verified" if arrival["verified"] else "refused "]
    shown = [event.get("type"), *about, arrival["id"], arrival["refused"]]
    render.show(
        Text.assemble(
            (f"{words[0]}  ", "dim"),
            (f"{words[1]}  ", "green" if arrival["verified"] else "red"),
            "  ".join(render.plain(part) for part in shown if part),
        )
    )
    if headers is None:
        return
    for name, value in headers.items():
        render.show(Text(f"    {render.plain(name.lower())}: {render.plain(value)}", style="dim"))
    if arrival["event"] is not None:
        render.document(arrival["event"])


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _now() -> str:
    from notifier.events import rfc3339

    return rfc3339(datetime.now(UTC).timestamp())
