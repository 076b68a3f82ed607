"""Links that sign in to the dashboard: response and request."""

from typing import Literal

from watcher.schemas.base import Document, Request, Time, example
from watcher.schemas.merchants import Scope, ScopesIn


class LoginLink(Document):
    """A link that signs a merchant in to the dashboard, once."""

    object: Literal["login_link"]
    merchant: str
    scopes: list[Scope]
    path: str
    """Below the address of this server."""
    url: str | None
    """The whole link; null where the setting `public_url` does not say the address."""
    expires_at: Time


class NewLoginLink(Request):
    """A login link to make."""

    scopes: ScopesIn | None = None
    """What it lets do: `read`, `write`, or both, which is the default."""

    model_config = example({"scopes": ["read"]})
