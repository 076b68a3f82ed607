"""What the pages of webhooks show, beside the documents: words for events, health and requests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# The templates ask for it here, too.
from watcher.web.dashboard.json_view import visible as visible

#: What each type of event says, for those who choose.
SAYS = {
    "payment.succeeded": "The money is there, deep enough: ship.",
    "payment.failed": "The payment failed, or a success is taken back.",
    "payment.expired": "Nobody paid in time.",
    "payment.attention": "A person has to decide: late, double, or reorganised money.",
    "payment.created": "A payment was asked for.",
    "payment.processing": "Money came, and waits for confirmations.",
    "payment.canceled": "You canceled it.",
    "payment.refunded": "Money went back to the payer.",
    "webhook.test": "A test without a payment in it.",
}

#: The same as options of a form.
OPTIONS = [(kind, kind) for kind in SAYS]

#: What the endpoint's state means, by the reason why it is disabled.
DISABLED = {
    "operator": "It was disabled by hand. Its webhooks are held until it is enabled.",
    "gone": "It answered 410 Gone, so it was disabled. Its webhooks are held until it is enabled.",
    "failing": "It failed for days, so it was disabled. Mend it, then enable it: what is held is sent.",
}

#: How far back a list may be asked to go, seconds.
WITHIN = {"1h": 3_600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code to copy."""

    name: str
    language: str
    code: str


@cache
def snippets() -> tuple[Snippet, ...]:
    """Return code that verifies a webhook, in the languages that shops are written in."""
    folder = files("watcher.web").joinpath("snippets")
    return tuple(
        Snippet(name, kind, folder.joinpath(f"verify.{kind}").read_text("utf-8"))
        for name, kind in (("Python", "py"), ("Node", "mjs"), ("Ruby", "rb"))
    )


def outcome(attempt: Mapping[str, Any]) -> str:
    """Say what came of an attempt: a status, or why there is none."""
    code = attempt["status_code"]
    return attempt["error"] or "no answer" if code is None else f"answered {code}"


def is_ok(attempt: Mapping[str, Any]) -> bool:
    """Return whether the endpoint took the event."""
    code = attempt["status_code"]
    return code is not None and 200 <= code < 300


def parsed(body: str | None) -> Any:
    """Return a body's JSON, None where there is none."""
    return None if body is None else json.loads(body)


def told(count: int, complete: bool) -> str:
    """Say how many webhooks are sent again."""
    if not count and complete:
        return "There was nothing to send."
    noun = "webhook is" if count == 1 else "webhooks are"
    return f"{count:,} {noun} sent again{'' if complete else ', and more follow in the background'}."


def urls(endpoints: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return endpoints' URLs by id."""
    return {one["id"]: one["url"] for one in endpoints}


def endpoint_options(endpoints: Sequence[Mapping[str, Any]], chosen: str = "") -> list[tuple[str, str]]:
    """Return options that choose an endpoint, first none of them; one that is gone is named by its id."""
    known = {id_: visible(url) for id_, url in urls(endpoints).items()}
    return [
        ("", "any"),
        *({chosen: chosen} if chosen and chosen not in known else {}).items(),
        *known.items(),
    ]
