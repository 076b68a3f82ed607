"""What can go wrong when the API is called.

::

    ApiError
    ├── Refused         400, 409, 413, 415, 422   the request cannot be granted; ``errors`` name the fields
    ├── Unauthorized    401, 403                  the key is wrong, not valid any more, or may not do this
    ├── NotFound        404                       there is no such thing, or it is another merchant's
    ├── RateLimited     429                       this key asks too often, and waiting did not help
    └── Unreachable      no usable answer: no connection, 503, a redirect, not this API

No error holds the key.
"""

from collections.abc import Sequence

from watcher.schemas import FieldError


class ApiError(Exception):
    """The server refused or failed. ``str(error)`` is for people; ``code`` is short and stable."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str = "",
        errors: Sequence[FieldError] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        #: The HTTP status, None without an answer.
        self.status = status
        self.code = code
        #: What is wrong, field by field, for ``validation``.
        self.errors = list(errors)
        #: Names the request in the server's log.
        self.request_id = request_id
        #: Seconds after which asking again makes sense; None when unknown.
        self.retry_after = retry_after


class Refused(ApiError):
    """The request cannot be granted, and nothing was done."""


class Unauthorized(ApiError):
    """The key is wrong, not valid any more, or lacks the scope."""


class NotFound(ApiError):
    """There is no such thing, or it is another merchant's."""


class RateLimited(ApiError):
    """This key asks too often."""


class Unreachable(ApiError):
    """There is no usable answer. What was asked for may have been done: ask again with the same idempotency
    key.
    """
