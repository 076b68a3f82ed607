"""Errors as problem+json (RFC 9457): one shape for everything that the server refuses."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from notifier.database_errors import is_outage, reason_of
from notifier.errors import DecryptionFailed, InvalidEndpoint, NotifierError
from notifier.errors import NotFound as NotifierNotFound
from watcher.errors import NotFound, Refused
from watcher.log import get_logger
from watcher.store.database import DatabaseError

MEDIA_TYPE = "application/problem+json"

#: What a client waits for when the database is in trouble, and when a request with its key is being done,
#: seconds.
DATABASE_RETRY_SECONDS = 5
IN_PROGRESS_RETRY_SECONDS = 1

_RETRY = {"retry-after": str(DATABASE_RETRY_SECONDS)}

log = get_logger(__name__)


class Problem(HTTPException):
    """A request that is answered by a problem; ``headers`` go with it.

    The framework lets its own kind of exception through, wherever it is raised.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.more = more

    def answer(self) -> Response:
        """Return the response."""
        phrase = HTTPStatus(self.status_code).phrase
        body = {"type": "about:blank", "title": phrase, "status": self.status_code}
        content = json.dumps(
            body | {"code": self.code, "detail": self.detail} | self.more, ensure_ascii=False
        ).encode("utf-8", "backslashreplace")
        return Response(
            content,
            status_code=self.status_code,
            headers=dict(self.headers or {}),
            media_type=MEDIA_TYPE,
        )


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Return the answer for one problem; ``code`` is short and stable, ``more`` are further members."""
    return Problem(status, code, detail, headers=headers, **more).answer()


def rate_limited(what: str, wait: int) -> Problem:
    """Return the problem of who does too much: ``what`` says of what; ``wait`` is in seconds."""
    return Problem(429, "rate_limited", f"{what}; wait {wait} s", headers={"retry-after": str(wait)})


def not_found() -> NoReturn:
    """Answer as if there were no such route."""
    raise Problem(404, "not_found", "Not Found")


def install(app: FastAPI) -> None:
    """Let everything that a route can raise have the same shape: ours, the database's, the framework's, and
    bugs.
    """
    for kind in (
        *(Refused, NotFound, NotifierError, DatabaseError, RequestValidationError, HTTPException),
        Exception,
    ):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    found = problem_of(request, error)
    if found is None:
        if isinstance(error, DatabaseError):
            # A bug of ours: the traceback goes to the log.
            raise error
        found = Problem(500, "internal_error", "the server made a mistake")
    show = getattr(request.state, "show_problem", None)
    return found.answer() if show is None else show(found)


def problem_of(request: Request, error: Exception) -> Problem | None:
    """Return the problem that an error is, None for a bug, of which a stranger learns nothing."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        return _refused(error)
    if isinstance(error, NotFound | NotifierNotFound):
        return Problem(404, "not_found", str(error))
    if isinstance(error, NotifierError):
        return _of_notifier(error)
    if isinstance(error, DatabaseError) and is_outage(error):
        log.warning("http.database_failed", reason=reason_of(error))
        return Problem(
            503,
            "unavailable",
            "the database does not answer; nothing is lost, try again",
            headers=_RETRY,
        )
    if isinstance(error, RequestValidationError):
        return _wrong(error)
    if isinstance(error, HTTPException):
        return _of_framework(request, error)
    return None


def _refused(error: Refused) -> Problem:
    if error.code == "validation":
        return _invalid(error.errors, "" if error.errors else str(error))
    more = {"errors": error.errors} if error.errors else {}
    busy = error.code == "idempotency_in_progress"
    headers = {"retry-after": str(IN_PROGRESS_RETRY_SECONDS)} if busy else None
    return Problem(409, error.code, str(error), headers=headers, **more)


def _of_notifier(error: NotifierError) -> Problem:
    if isinstance(error, InvalidEndpoint):
        return _invalid([{"field": error.field, "message": str(error)}])
    if isinstance(error, DecryptionFailed):
        log.error("http.secret_sealed", reason=str(error))
        return Problem(503, "secret_sealed", str(error), headers=_RETRY)
    return Problem(409, "not_possible", str(error))


def _wrong(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(line["loc"][0] == "path" for line in found):
        return Problem(404, "not_found", "there is nothing of that name")
    about_all = [str(line["msg"]) for line in found if len(line["loc"]) == 1]
    if about_all:
        return _invalid((), f"the {found[0]['loc'][0]} {about_all[0]}")
    return _invalid(
        [{"field": ".".join(map(str, line["loc"][1:])), "message": str(line["msg"])} for line in found]
    )


def _of_framework(request: Request, error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_methods(request)).replace("GET", "GET, HEAD")}
    return Problem(error.status_code, code, str(error.detail), headers=headers)


def _invalid(errors: Sequence[Mapping[str, str]], detail: str = "") -> Problem:
    """Return the problem of a request whose fields are wrong."""
    message = detail or "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return Problem(422, "validation", message, errors=[dict(error) for error in errors])


def _methods(request: Request) -> list[str]:
    """Return what a path can be asked; the framework itself names the methods of one route only."""
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def unavailable(detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer while something that is needed does not work."""
    return problem(503, "unavailable", detail, headers=_RETRY | dict(headers or {}))
