"""Pages as they are sent: templates, and the policy of what a page may load and who may frame it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from watcher.web import assets

MEDIA_TYPE = "text/html; charset=utf-8"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src {images}; "
    "base-uri 'none'; form-action {forms}; frame-ancestors {framers}"
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is sent."""

    html: str
    headers: Mapping[str, str]


def render(
    template: str,
    *,
    images: Sequence[str] = (),
    framers: Sequence[str] = (),
    forms: bool = False,
    **values: object,
) -> Page:
    """Return the page of a template.

    ``images``: origins of other hosts that it shows pictures of; ``framers``: origins that may frame it;
    ``forms``: whether it sends any, to this server. ``values`` are the template's.
    """
    policy = _POLICY.format(
        images=" ".join(["'self'", "data:", *images]),
        forms="'self'" if forms else "'none'",
        framers=" ".join(framers) or "'none'",
    )
    headers = {"content-security-policy": policy} | ({} if framers else {"x-frame-options": "DENY"})
    html = (
        environment()
        .get_template(template)
        .render(**values, framers=framers, frame_script=assets.name_of("frame.js"))
    )
    return Page(html, headers)


@cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, whatever a file is called."""
    return Environment(
        loader=PackageLoader("watcher.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
