"""What routes of the dashboard take as parameters.

``viewer: SignedIn`` says who looks, ``read: Read`` and ``write: Write`` call the services for them, ``form:
FormIn`` has what a form sends, and ``show: Show`` answers with a page, or leads to another one.
"""

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response

from notifier.errors import NotifierError
from watcher.api import idempotency
from watcher.api.auth import api_of
from watcher.api.caller import Caller
from watcher.api.errors import problem_of
from watcher.api.idempotency import IdempotentRequest
from watcher.api.pages.answer import answer
from watcher.api.pages.dashboard import csrf, flash
from watcher.api.pages.dashboard.viewer import Viewer
from watcher.api.pages.forms import Form
from watcher.errors import Refused
from watcher.services import Services
from watcher.services.passwords import hash_password
from watcher.services.status_reasons import Reason
from watcher.services.webhooks import endpoint_url
from watcher.web.dashboard import layout

_T = TypeVar("_T")

#: What a service raises for a form that is wrong, to show the form again: ``except REFUSALS as error``.
REFUSALS = (Refused, NotifierError)

#: A form that is sent twice at the same moment waits for its first answer: tries, and seconds in between.
_TRIES = 40
_WAIT_SECONDS = 0.25


class Reading:
    """Reads in one transaction; ``await read(lambda services: services.intent(id))`` is what that returns."""

    def __init__(self, request: Request) -> None:
        self._api = api_of(request)
        self._viewer: Viewer = request.state.viewer

    @property
    def known_reasons(self) -> Sequence[Reason]:
        """What is wrong with this process, for the status."""
        return self._api.known_reasons()

    async def __call__(self, work: Callable[[Services], _T]) -> _T:
        """Return what ``work`` returns; it sees the merchant that is looked at."""
        return await self._api.read_with(self._viewer.caller, work)

    async def of_all(self, work: Callable[[Services], _T]) -> _T:
        """The same for an operator, who sees all, whatever they look at."""
        return await self._api.read_with(self._viewer.operator, work)


class Writing:
    """Writes in one transaction, once for each form: ``await write(lambda services: …)`` is the document that
    ``work`` returns. A form that is sent a second time changes nothing and gets the first one's document.
    """

    def __init__(self, request: Request) -> None:
        self._api = api_of(request)
        self._viewer: Viewer = request.state.viewer
        self._form: Form = request.state.form
        self._path = request.url.path

    async def __call__(self, work: Callable[[Services], Any]) -> Any:
        """Write as the merchant that is looked at."""
        return await self._once(self._viewer.caller, lambda services, _: work(services))

    async def of_all(self, work: Callable[[Services], Any]) -> Any:
        """Write as an operator, whatever they look at."""
        return await self._once(self._viewer.operator, lambda services, _: work(services))

    async def with_url(self, url: str | None, work: Callable[[Services, Any], Any]) -> Any:
        """The same, with an endpoint's URL (None for none) looked up before the transaction begins."""
        settings = self._api.settings
        return await self._once(self._viewer.caller, work, before=lambda: endpoint_url(settings, url))

    async def with_password(self, password: str | None, work: Callable[[Services, Any], Any]) -> Any:
        """The same, with a link's password (None for none) hashed before the transaction begins."""
        before = None if password is None else lambda: hash_password(password)
        return await self._once(self._viewer.caller, work, before=before)

    async def _once(
        self,
        caller: Caller,
        work: Callable[[Services, Any], Any],
        *,
        before: Callable[[], object] | None = None,
    ) -> Any:
        # The fields include the page's token: those of another page, or other fields, are another form. The
        # key is of the session's secret, which the database does not have: it seals the answer.
        asked = idempotency.fingerprint("POST", self._path, self._form.pairs)
        key = hmac.new(self._viewer.secret.encode(), asked, "sha256").hexdigest()
        idempotent = IdempotentRequest(scope=f"dashboard:{self._viewer.session.id}", key=key, asked=asked)
        for left in reversed(range(_TRIES)):
            try:
                done, _ = await self._api.write_once(caller, work, idempotent, before=before)
                return json.loads(done.body)
            except Refused as error:
                if error.code != "idempotency_in_progress" or not left:
                    raise
            await asyncio.sleep(_WAIT_SECONDS)
        raise AssertionError("the last try returns or raises")


class Showing:
    """Answers with pages of the dashboard, with what all of them have."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._viewer: Viewer = request.state.viewer
        self._now = api_of(request).now

    def __call__(
        self, template: str, *, status: int = 200, images: tuple[str, ...] = (), **values: Any
    ) -> Response:
        """Answer with the page of ``dashboard/<template>.html``.

        ``images``: origins of pictures from elsewhere. ``values`` are the template's.
        """
        said = flash.read(self._request.query_params.get("said", ""), self._viewer.secret, now=self._now())
        return answer(
            layout.page(template, frame(self._request, self._viewer, said=said), images=images, **values),
            status=status,
        )

    def redirect(self, path: str, *, said: str = "") -> Response:
        """Lead to another page of the dashboard, such as ``keys``, which says what was done."""
        where = layout.link(self._request.url.path, path)
        if said:
            mark = flash.sign(said, self._viewer.secret, now=self._now())
            where += f"{'&' if '?' in where else '?'}said={mark}"
        return Response(status_code=303, headers={"location": where})


def frame(request: Request, viewer: Viewer | None, *, said: str | None = None) -> layout.Frame:
    """Return what every page of the dashboard has around it; ``viewer`` None: nobody is signed in."""
    settings = api_of(request).settings
    return layout.Frame(
        path=request.url.path,
        query=[pair for pair in request.query_params.multi_items() if pair[0] != "said"],
        viewer=None if viewer is None else viewer.document(),
        token="" if viewer is None else csrf.make(viewer.secret, viewer.merchant),
        said=said,
        network=settings.network.value,
        assets={asset.name: (asset.identifier, asset.decimals) for asset in settings.assets.values()},
    )


def errors_of(request: Request, error: Exception) -> dict[str, str]:
    """Return what is wrong with a form by the names of its fields; under no name what concerns all of it."""
    found = problem_of(request, error)
    assert found is not None, "a refusal is a problem"
    errors: list[Mapping[str, str]] = found.more.get("errors", [])
    return {line["field"]: line["message"] for line in errors} or {"": str(found.detail)}


# ``async``, because the framework runs what is not in a thread pool of its own.


async def _viewer(request: Request) -> Viewer:
    viewer: Viewer = request.state.viewer
    return viewer


async def _form(request: Request) -> Form:
    form: Form = request.state.form
    return form


async def _reading(request: Request) -> Reading:
    return Reading(request)


async def _writing(request: Request) -> Writing:
    return Writing(request)


async def _showing(request: Request) -> Showing:
    return Showing(request)


SignedIn = Annotated[Viewer, Depends(_viewer)]
FormIn = Annotated[Form, Depends(_form)]
Read = Annotated[Reading, Depends(_reading)]
Write = Annotated[Writing, Depends(_writing)]
Show = Annotated[Showing, Depends(_showing)]
