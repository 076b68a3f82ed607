"""QR codes: inside a page as SVG without styles, and as files."""

from enum import StrEnum
from functools import lru_cache
from io import BytesIO

import segno
from markupsafe import Markup


@lru_cache(maxsize=1024)
def code(text: str, title: str) -> Markup:
    """Return a QR code as SVG; segno escapes the title.

    It takes some milliseconds, and the same page is asked for again and again.
    """
    return Markup(segno.make(text, error="m", micro=False).svg_inline(scale=4, omitsize=True, title=title))  # noqa: S704


class CodeFormat(StrEnum):
    """Formats of files."""

    SVG = "svg"
    PNG = "png"


#: Media types by format.
MEDIA_TYPES = {CodeFormat.SVG: "image/svg+xml", CodeFormat.PNG: "image/png"}

#: Pixels, or units, of one module in a file: large enough to be printed.
_FILE_SCALE = 8


@lru_cache(maxsize=1024)
def code_file(text: str, form: CodeFormat) -> bytes:
    """Return a file with a QR code in black on white, with the quiet zone around it."""
    made = BytesIO()
    segno.make(text, error="m", micro=False).save(
        made, kind=form.value, scale=_FILE_SCALE, border=4, light="white"
    )
    return made.getvalue()
