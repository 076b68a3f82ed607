"""Visitors of pages: who looks is told apart for a day, and programs are nobody."""

import re

from fastapi import Request

from watcher.api import payers

#: What programs that are nobody say of themselves: search engines, link previews of messengers, monitors,
#: tools.
_NOBODY = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|preview|facebookexternalhit|^whatsapp/|embedly|monitor|uptime|pingdom"
    r"|headless|lighthouse|curl|wget|python|java/|go-http|okhttp|axios|node-fetch|scrapy",
    re.IGNORECASE,
)


def visitor_of(request: Request) -> str | None:
    """Return by what a visitor is told apart from others on the same day, None for a program.

    A browser that fetches a page before anybody asks for it says so; nobody has looked then.
    """
    name = request.headers.get("user-agent", "")
    ahead = " ".join(request.headers.get(header, "") for header in ("sec-purpose", "purpose", "x-moz"))
    if request.scope["state"]["head"] or not name or _NOBODY.search(name) or "prefetch" in ahead.lower():
        return None
    return f"{payers.limited_address(request)} {name[:300]}"
