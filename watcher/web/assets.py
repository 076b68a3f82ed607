"""Styles and scripts of the pages, each under a name that changes with it, so that it can be cached."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: Of a year: the name changes when the file does.
CACHE = "public, max-age=31536000, immutable"

#: Bytes above which a file is packed. A brand's style, of which there are as many as colors, is smaller.
_PACKED_FROM = 1000

#: Where files of a kind are, and what they are sent as.
_KINDS = {
    "css": ("styles", "text/css; charset=utf-8"),
    "js": ("built", "text/javascript; charset=utf-8"),
    "mjs": ("built", "text/javascript; charset=utf-8"),
}
_BRAND = re.compile(r"brand-([0-9a-f]{6})\.css", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    media_type: str


@cache
def name_of(file: str) -> str:
    """Return the name under which a file of ``styles`` or ``built`` is served."""
    stem, _, kind = file.rpartition(".")
    return f"{stem}-{hashlib.sha256(_read(file)).hexdigest()[:12]}.{kind}"


def brand_name(color: str) -> str:
    """Return the name of the style that has a merchant's color, ``#`` and six digits."""
    return f"brand-{color.removeprefix('#')}.css"


def find(name: str) -> Asset | None:
    """Return the file that is served under a name, None if there is none."""
    file = _by_name().get(name)
    if file is not None:
        return Asset(_read(file), _KINDS[file.rpartition(".")[2]][1])
    brand = _BRAND.fullmatch(name)
    return None if brand is None else Asset(_brand_style(brand[1]).encode(), "text/css; charset=utf-8")


def script(file: str) -> Asset:
    """Return a script that is served under its own name."""
    return Asset(_read(file), _KINDS["js"][1])


def packed(asset: Asset) -> bytes | None:
    """Return a file's content as gzip, None where that saves nothing.

    Files are the same for everyone. The pages themselves are not packed: they hold secrets, whose length must
    not depend on what somebody else may have put beside them.
    """
    return _pack(asset.content) if len(asset.content) > _PACKED_FROM else None


@cache
def _pack(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@cache
def _by_name() -> dict[str, str]:
    return {
        name_of(file.name): file.name
        for kind, (folder, _) in _KINDS.items()
        for file in files("watcher.web").joinpath(folder).iterdir()
        if file.name.endswith(f".{kind}")
    }


@cache
def _read(file: str) -> bytes:
    return files("watcher.web").joinpath(_KINDS[file.rpartition(".")[2]][0], file).read_bytes()


def text_on(color: str) -> str:
    """Return black or white, whichever is easier to read on a color, ``#`` and six digits."""
    return max("#ffffff", "#000000", key=lambda text: contrast(text, color))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors as WCAG defines it: 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _brand_style(digits: str) -> str:
    """Return the style of a color: what is filled with it has the text that is easier to read on it."""
    return f":root{{--brand:#{digits};--on-brand:{text_on(f'#{digits}')}}}\n"


def _luminance(color: str) -> float:
    red, green, blue = (_linear(int(color[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(share: float) -> float:
    return float(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
