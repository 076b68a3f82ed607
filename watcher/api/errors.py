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
        return problem(self.status_code, self.code, self.detail, headers=self.headers, **self.more)


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Return the answer for one problem; ``code`` is short and stable, ``more`` are further members."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    content = json.dumps(body | {"code": code, "detail": detail} | more, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
    return Response(content, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def invalid(errors: Sequence[Mapping[str, str]], detail: str = "") -> Response:
    """Return the answer to a request whose fields are wrong."""
    message = detail or "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return problem(422, "validation", message, errors=[dict(error) for error in errors])


def not_found() -> NoReturn:
    """Answer as if there were no such route."""
    raise Problem(404, "not_found", "Not Found")


def install(app: FastAPI) -> None:
    """Let everything that a route can raise have the same shape: ours, the database's, the framework's, and
    bugs.
    """

    @app.exception_handler(Problem)
    async def said(_request: Request, error: Problem) -> Response:
        return error.answer()

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        if error.code == "validation":
            return invalid(error.errors, "" if error.errors else str(error))
        more = {"errors": error.errors} if error.errors else {}
        busy = error.code == "idempotency_in_progress"
        headers = {"retry-after": str(IN_PROGRESS_RETRY_SECONDS)} if busy else None
        return problem(409, error.code, str(error), headers=headers, **more)

    @app.exception_handler(NotFound)
    async def missing(_request: Request, error: NotFound) -> Response:
        return problem(404, "not_found", str(error))

    @app.exception_handler(NotifierError)
    async def notifier(_request: Request, error: NotifierError) -> Response:
        if isinstance(error, NotifierNotFound):
            return problem(404, "not_found", str(error))
        if isinstance(error, InvalidEndpoint):
            return invalid([{"field": error.field, "message": str(error)}])
        if isinstance(error, DecryptionFailed):
            log.error("http.secret_sealed", reason=str(error))
            return problem(
                503, "secret_sealed", str(error), headers={"retry-after": str(DATABASE_RETRY_SECONDS)}
            )
        return problem(409, "not_possible", str(error))

    @app.exception_handler(DatabaseError)
    async def database(_request: Request, error: DatabaseError) -> Response:
        if not is_outage(error):
            # A bug of ours.
            raise error
        log.warning("http.database_failed", reason=reason_of(error))
        return unavailable("the database does not answer; nothing is lost, try again")

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if any(problem["loc"][0] == "path" for problem in found):
            return problem(404, "not_found", "there is nothing of that name")
        about_all = [str(p["msg"]) for p in found if len(p["loc"]) == 1]
        if about_all:
            return invalid((), f"the {found[0]['loc'][0]} {about_all[0]}")
        return invalid([{"field": ".".join(map(str, p["loc"][1:])), "message": str(p["msg"])} for p in found])

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        headers = error.headers
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = {"allow": ", ".join(_methods(request)).replace("GET", "GET, HEAD")}
        return problem(error.status_code, code, str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        # The traceback goes to the log; a stranger learns nothing.
        return problem(500, "internal_error", "the server made a mistake")


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
    retry = {"retry-after": str(DATABASE_RETRY_SECONDS)}
    return problem(503, "unavailable", detail, headers=retry | dict(headers or {}))
