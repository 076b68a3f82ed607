"""Forms that browsers send: bounded in size, time and number of fields, in UTF-8."""

from urllib.parse import parse_qsl

from fastapi import Request

from watcher.api.errors import Problem
from watcher.api.json_body import read_bytes

MEDIA_TYPE = "application/x-www-form-urlencoded"

#: Bytes and fields of a form, at most.
MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 200


class Form:
    """The fields of a form in order; what is not given is empty."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def text(self, name: str) -> str:
        """Return a field's text without white space around it, as the form's first field of that name has
        it.
        """
        return next((value.strip() for key, value in self.pairs if key == name), "")

    def optional(self, name: str) -> str | None:
        """Return a field's text, None for an empty one."""
        return self.text(name) or None

    def texts(self, name: str) -> list[str]:
        """Return the texts of all fields of a name, such as ticked boxes."""
        return [value for key, value in self.pairs if key == name]

    def lines(self, name: str) -> list[str]:
        """Return the lines of a text that are not empty."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    @property
    def values(self) -> dict[str, str]:
        """The first text of each field, to show the form again as it was sent."""
        return dict(reversed(self.pairs))


async def read_form(request: Request) -> Form:
    """Return the form that a request sends. Raises :class:`Problem` (400, 408, 413, 415)."""
    data = await read_bytes(request, MAX_FORM_BYTES)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if data and kind != MEDIA_TYPE:
        raise Problem(415, "unsupported_media_type", f"send a form: Content-Type: {MEDIA_TYPE}")
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        message = f"the form cannot be read; it is UTF-8 with at most {MAX_FIELDS} fields"
        raise Problem(400, "invalid_form", message) from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Problem(400, "invalid_form", "the form holds the character U+0000")
    # Browsers end lines of texts by both characters, whatever the page had.
    return Form([(name, value.replace("\r\n", "\n")) for name, value in pairs])
