"""What all pages of the dashboard have around them: navigation, who is signed in, what was just done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from watcher.web import amounts, assets
from watcher.web.dashboard.json_view import json_text, json_view
from watcher.web.page import Page, render

#: The sections: path below ``/dashboard``, and name.
SECTIONS = (
    ("", "Overview"),
    ("payments", "Payments"),
    ("transfers", "Transfers"),
    ("refunds", "Refunds due"),
    ("links", "Links"),
    ("webhooks", "Webhooks"),
    ("keys", "Keys"),
    ("brand", "Brand"),
    ("status", "Status"),
)
#: Those of operators, and those about the session.
OPERATOR_SECTIONS = (("merchants", "Merchants"),)
SESSION_SECTIONS = (("sessions", "Sign-ins"),)

#: How words of documents are shown: good, bad, waiting; others are plain.
_TONES = {
    **dict.fromkeys(("succeeded", "delivered", "active", "enabled", "ok", "canonical", "up"), "good"),
    **dict.fromkeys(
        ("failed", "dead", "disabled", "halted", "down", "revoked", "orphaned", "refund_due"), "bad"
    ),
    **dict.fromkeys(("pending", "processing", "held", "starting", "degraded", "expired", "waiting"), "warn"),
}

#: Words in what a browser calls itself, the telling ones first.
_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a page is shown in. ``viewer`` None: nobody is signed in.

    ``path`` and ``query``: of the page; ``token``: for its forms; ``said``: what was just done; ``assets``:
    identifier and decimals by short name.
    """

    path: str
    query: Sequence[tuple[str, str]]
    viewer: Mapping[str, Any] | None
    token: str
    said: str | None
    network: str
    assets: Mapping[str, tuple[str, int]]


def page(template: str, frame: Frame, *, images: Sequence[str] = (), **values: Any) -> Page:
    """Return the page of ``dashboard/<template>.html``. ``images``: origins of pictures from elsewhere."""
    made = render(
        f"dashboard/{template}.html",
        images=images,
        forms=True,
        language="en",
        frame=frame,
        viewer=frame.viewer,
        section=frame.path.removeprefix("/dashboard").strip("/").partition("/")[0],
        sections=SECTIONS,
        operator_sections=OPERATOR_SECTIONS,
        session_sections=SESSION_SECTIONS,
        **helpers(frame),
        **values,
    )
    # Forms say where they come from, see watcher.api.pages.dashboard.csrf; other hosts learn nothing.
    return Page(made.html, {**made.headers, "referrer-policy": "same-origin"})


def helpers(frame: Frame) -> dict[str, Any]:
    """Return the functions that templates call: addresses, amounts, times, words."""
    return {
        "to": partial(link, frame.path),
        "asset_file": lambda name: link(frame.path, f"assets/{assets.name_of(name)}"),
        "with_query": partial(_with_query, frame.query),
        "money": partial(_money, frame.assets),
        "moment": _moment,
        "span": _span,
        "percent": percent,
        "json_text": json_text,
        "json_view": json_view,
        "browser": _browser,
        "tone": lambda word: _TONES.get(word, "plain"),
        "words": lambda word: str(word).replace("_", " "),
    }


def link(path: str, to: str) -> str:
    """Return the address of a page below ``/dashboard`` as the page at ``path`` names it.

    It is relative, so that it also holds where a proxy serves everything below another path.
    """
    up = "../" * (path.count("/") - 1)
    return f"{up}dashboard/{to}" if to and not to.startswith("?") else f"{up}dashboard{to}"


def _with_query(query: Sequence[tuple[str, str]], **changes: str | None) -> str:
    """Return this page's address with some parameters changed, None for without."""
    kept = [(name, value) for name, value in query if name not in changes and value]
    return "?" + urlencode(kept + [(name, value) for name, value in changes.items() if value is not None])


def _money(known: Mapping[str, tuple[str, int]], units: object, asset: str) -> Markup:
    """Return an amount of base units with its symbol; of an asset that is not known, the base units.

    ``asset`` is the short name or the identifier.
    """
    name = next((name for name, (identifier, _) in known.items() if asset in (name, identifier)), None)
    if name is None:
        return Markup('<span class="money"><b>{}</b> units of <code>{}</code></span>').format(units, asset)
    decimals = known[name][1]
    shown = Markup('<span class="money"><b>{}</b> {}</span>').format(
        amounts.decimal(int(str(units)), decimals), amounts.symbol(name)
    )
    sats = amounts.in_sats(int(str(units)), name)
    return shown if sats is None else shown + Markup(' <span class="sats">{}</span>').format(sats)


def _browser(agent: str) -> str:
    """Return what a browser calls itself, for people; of others the beginning of what they said."""
    name = next((name for word, name in _BROWSERS.items() if word in agent), None)
    system = next((name for word, name in _SYSTEMS.items() if word in agent), None)
    return f"{name} on {system}" if name and system else agent[:40] or "unknown"


def _span(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "–"
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{seconds:.0f} s"


def percent(rate: float | None) -> str:
    """Return a rate for people: ``99.6 %``; never 100 where anything failed, nor 0 where anything did not."""
    if rate is None:
        return "–"
    shown = min(max(rate, 0.001), 0.999) if 0 < rate < 1 else rate
    return f"{shown * 100:.1f}".removesuffix(".0") + "\u00a0%"


def _moment(text: str | None, missing: str = "never") -> Markup:
    """Return an RFC 3339 time in UTC; scripts show it in the reader's own zone."""
    if text is None:
        return Markup('<span class="soft">{}</span>').format(missing)
    shown = datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{} UTC</time>').format(text, shown)
