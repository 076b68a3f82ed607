"""Who looks at the dashboard: the session of a request's cookie."""

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from watcher.api.auth import api_of
from watcher.api.caller import Caller
from watcher.api.errors import Problem, rate_limited
from watcher.api.pages.dashboard import cookie
from watcher.schemas import Scope
from watcher.services.dashboard_sessions import DashboardSession

#: A page that looks by itself whether something changed says so; that is no use of the session.
REFRESH_HEADER = "x-refresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Somebody who is signed in. ``secret``: the cookie's."""

    session: DashboardSession
    secret: str = field(repr=False)

    @property
    def is_operator(self) -> bool:
        return self.session.is_operator

    @property
    def may_write(self) -> bool:
        return Scope.WRITE in self.session.scopes

    @property
    def merchant(self) -> str | None:
        """The merchant that is looked at; None for an operator who looks at all."""
        return self.session.merchant

    @property
    def caller(self) -> Caller:
        """Who calls the services: sees and does what belongs to the merchant that is looked at."""
        return Caller(merchant=self.merchant, actor=self.session.actor, key_id=self.session.key_id)

    @property
    def operator(self) -> Caller:
        """An operator who sees all, whatever they look at. Raises :class:`Problem` (404) for a merchant."""
        if not self.is_operator:
            raise Problem(404, "not_found", "there is no such page")
        return Caller(merchant=None, actor=self.session.actor)

    @property
    def one_merchant(self) -> str:
        """The merchant that is looked at. Raises :class:`Problem` (409) for an operator who looks at all."""
        if self.merchant is None:
            raise Problem(409, "no_merchant", "choose a merchant first: what you see belongs to all of them")
        return self.merchant

    def document(self) -> dict[str, Any]:
        """Return what pages show of them."""
        return {
            "is_operator": self.is_operator,
            "may_write": self.may_write,
            "merchant": self.merchant,
            "merchant_name": self.session.merchant_name,
            "session": self.session.id,
            "how": self.session.how.value,
        }


async def authenticate(request: Request) -> Viewer:
    """Return who is signed in. Raises :class:`Problem` (401, 429)."""
    api = api_of(request)
    secret = cookie.read(request)
    session = None if secret is None else await api.dashboard_session(secret)
    if secret is None or session is None:
        raise Problem(401, "signed_out", "you are not signed in, or not any more; nothing was done")
    request.scope["state"]["caller"] = session.actor
    _, wait = api.rate_limit.take(session.key_id or session.id)
    if wait is not None:
        raise rate_limited("this session asks too often", wait)
    if REFRESH_HEADER not in request.headers:
        api.session_uses.add(session.id)
        if session.key_id is not None:
            api.key_uses.add(session.key_id)
    return Viewer(session=session, secret=secret)
