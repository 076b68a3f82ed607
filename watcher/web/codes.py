"""QR codes as SVG, without styles."""

from functools import lru_cache

import segno
from markupsafe import Markup


@lru_cache(maxsize=1024)
def code(text: str, title: str) -> Markup:
    """Return a QR code as SVG; segno escapes the title.

    It takes some milliseconds, and the same page is asked for again and again.
    """
    return Markup(segno.make(text, error="m", micro=False).svg_inline(scale=4, omitsize=True, title=title))  # noqa: S704
