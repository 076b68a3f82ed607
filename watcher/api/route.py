"""How every route of the API is read: who calls, then a strict query, then a bounded body that is read in one
way only.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from watcher import schemas
from watcher.api.auth import api_of, authenticate, authenticate_operator
from watcher.api.caller import Caller
from watcher.api.json_body import MAX_BODY_BYTES
from watcher.api.request import ApiRequest
from watcher.schemas import Scope
from watcher.schemas.base import MAX_ERRORS, MAX_NAME_CHARACTERS


class Empty(schemas.Request):
    """No fields at all."""


class ApiRoute(APIRoute):
    """A route for merchants with a key, and for operators: GET needs the scope to read, everything else that
    to write.
    """

    max_body = MAX_BODY_BYTES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)

        async def handle(request: Request) -> Response:
            caller = request.state.authenticated = await self.authenticate(request)
            _check_query(request.query_params, any_known=takes_query)
            strict = ApiRequest(request.scope, request.receive)
            strict.max_body = self.max_body
            try:
                if request.method != "GET":
                    self._check_body(await strict.json())
                return await answer(strict)
            except RequestValidationError:
                # A key that was used for another request says more than what is wrong with this one. What is
                # refused later was refused in the transaction, which has looked.
                await api_of(request).check_key(strict, caller)
                raise

        return handle

    def _check_body(self, body: Any) -> None:
        """Refuse what the framework does not see: a body where none is expected, and none where one is
        needed. Raises :class:`RequestValidationError`.
        """
        field = self.body_field
        if field is not None and (body is not None or not field.field_info.is_required()):
            return
        model = Empty if field is None else field.field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, schemas.Request)
        try:
            model.model_validate({} if body is None else body)
        except ValidationError as error:
            lines = error.errors(include_url=False)
            raise RequestValidationError(
                [{**line, "loc": ("body", *line["loc"])} for line in lines]
            ) from None
        if field is not None:
            raise RequestValidationError([{"loc": ("body",), "msg": "is missing"}])

    async def authenticate(self, request: Request) -> Caller:
        """Return who calls. Raises :class:`Problem` (401, 403, 404, 429)."""
        return await authenticate(request, Scope.READ if request.method == "GET" else Scope.WRITE)


class BulkRoute(ApiRoute):
    """A route that takes many things at once."""

    max_body = 2 * 1024 * 1024


class OperatorRoute(ApiRoute):
    """A route for operators only."""

    async def authenticate(self, request: Request) -> Caller:
        """Return the operator. Raises :class:`Problem` (401, 404, 429)."""
        return await authenticate_operator(request)


def _check_query(query: QueryParams, *, any_known: bool) -> None:
    """Refuse what the models of queries cannot see: a parameter given twice, what no database stores, any
    where none is.
    """
    errors = []
    for name in dict.fromkeys(name for name, _ in query.multi_items()):
        texts = query.getlist(name)
        shown = name[:MAX_NAME_CHARACTERS]
        if not any_known:
            errors.append(_error(shown, "unknown parameter"))
        elif len(texts) > 1:
            errors.append(_error(shown, "is given twice"))
        elif "\0" in name or "\0" in texts[0]:
            errors.append(_error(shown, "must not hold the character U+0000"))
    if errors:
        raise RequestValidationError(errors[:MAX_ERRORS])


def _error(name: str, message: str) -> dict[str, Any]:
    return {"loc": ("query", name), "msg": message}
