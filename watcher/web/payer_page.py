"""What the pages for payers have in common: the merchant's name, logo and color, and the language."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from watcher.urls import origin_of
from watcher.web import assets, texts
from watcher.web.page import Page, render


class PayerView:
    """What the templates ask for, beside the document itself as ``it``."""

    def __init__(self, document: Mapping[str, Any], language: str) -> None:
        self.it = document
        self.language = language
        merchant = document["merchant"]
        self.name = merchant["name"]
        self.style = assets.name_of("checkout.css")
        color = merchant["brand_color"]
        self.brand_style = None if color is None else assets.brand_name(color)


def payer_page(
    template: str, view: PayerView, *, origins: Sequence[str], forms: bool, **values: object
) -> Page:
    """Return the page of a template. ``origins`` may frame it; ``forms``: whether it sends any."""
    logo = view.it["merchant"]["logo_url"]
    return render(
        template,
        images=[] if logo is None else [origin_of(logo)],
        framers=origins,
        forms=forms,
        page=view,
        t=partial(texts.markup, view.language),
        language=view.language,
        languages=texts.LANGUAGES,
        **values,
    )
