"""The page that stands in for another one that cannot be shown."""

from functools import partial
from http import HTTPStatus

from watcher.web import assets, texts
from watcher.web.page import Page, render

#: What a payer is told, by the status of the answer; for the others the server made a mistake.
_KINDS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "lost",
    HTTPStatus.METHOD_NOT_ALLOWED: "lost",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.REQUEST_TIMEOUT: "down",
    HTTPStatus.SERVICE_UNAVAILABLE: "down",
}


def problem_page(status: int, *, seconds: int | None, assets_at: str, language: str) -> Page:
    """Return the page of a problem.

    ``seconds``: after that long it loads itself anew, None for never. ``assets_at``: where its files are.
    """
    return render(
        "problem.html",
        kind=_KINDS.get(status, "broken"),
        seconds=seconds,
        assets=assets_at,
        style=assets.name_of("checkout.css"),
        t=partial(texts.markup, language),
        language=language,
    )
