"""How a merchant's color does on the checkout: what is written on it, and whether it stands out."""

from dataclasses import dataclass

from watcher.web.assets import contrast, text_on

#: What a checkout's buttons lie on, in the light and in the dark.
_CARDS = {"light": "#ffffff", "dark": "#191c22"}

#: The least contrast of what is not text, by WCAG 2.2.
_LEAST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandColor:
    """A color as the checkout uses it. ``pale_on``: where buttons hardly stand out."""

    color: str
    text: str
    text_contrast: str
    pale_on: tuple[str, ...]


def brand_color(color: str) -> BrandColor:
    """Return how a color does, ``#`` and six digits."""
    text = text_on(color)
    return BrandColor(
        color=color,
        text=text,
        text_contrast=f"{contrast(color, text):.1f}",
        pale_on=tuple(name for name, card in _CARDS.items() if contrast(color, card) < _LEAST),
    )
