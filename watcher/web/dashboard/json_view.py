"""A JSON document to read: objects and lists fold, and what cannot be seen is written out."""

import json
import unicodedata
from typing import Any

from markupsafe import Markup

#: Objects and lists are open down to this depth.
OPEN_DEPTH = 2
#: Values that are shown at most; the text to copy has all.
MAX_VALUES = 3_000

#: Categories of characters that make no mark of their own, or turn the text around them.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Those of them that belong to a text: line ends, tabs, and what joins emoji.
_SEEN = frozenset("\n\t\u200d")


def visible(text: str) -> str:
    """Return a text of a stranger with everything written out that cannot be seen: ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{ord(one):04x}" if unicodedata.category(one) in _UNSEEN and one not in _SEEN else one
        for one in text
    )


def json_view(document: Any) -> Markup:
    """Return a document as HTML: nested ``details``, strings and numbers marked by classes."""
    left = [MAX_VALUES]
    return Markup('<div class="json-view">{}</div>').format(_value(Markup(), document, 0, left))


def json_text(document: Any) -> str:
    """Return a document as JSON to copy: plain text, which templates escape."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def _value(label: Markup, value: Any, depth: int, left: list[int]) -> Markup:
    if isinstance(value, dict | list) and value:
        return _nested(label, value, depth, left)
    left[0] -= 1
    kind = "string" if isinstance(value, str) else "other"
    return label + Markup('<span class="{}">{}</span>').format(kind, _scalar(value))


def _nested(label: Markup, value: dict[str, Any] | list[Any], depth: int, left: list[int]) -> Markup:
    is_object = isinstance(value, dict)
    pairs = list(value.items()) if isinstance(value, dict) else [(None, one) for one in value]
    rows = []
    for name, one in pairs:
        if left[0] <= 0:
            rows.append(Markup("<li>… more: copy the whole text</li>"))
            break
        named = Markup() if name is None else Markup('<span class="name">{}</span>: ').format(_scalar(name))
        rows.append(Markup("<li>{}</li>").format(_value(named, one, depth + 1, left)))
    count = len(pairs)
    single, several, sign = ("field", "fields", "{…}") if is_object else ("entry", "entries", "[…]")
    noun = single if count == 1 else several
    head = label + Markup('{} <span class="soft">{} {}</span>').format(sign, count, noun)
    is_open = Markup(" open") if depth < OPEN_DEPTH else Markup()
    return Markup("<details{}><summary>{}</summary><ul>{}</ul></details>").format(
        is_open, head, Markup().join(rows)
    )


def _scalar(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False))
