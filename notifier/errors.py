# ruff: noqa: A002 (an id is called id)
"""What can go wrong in this package, outside of an attempt.

An attempt that fails is no exception: it is an :class:`notifier.sender.SendResult` that is stored and retried.

::

    NotifierError
    +-- NotFound            (also LookupError)  no such endpoint, event or delivery, or not this merchant's
    +-- InvalidEndpoint     (also ValueError)   a field of an endpoint cannot be as given; ``.field``
    |   +-- RefusedUrl                          the URL may not be called
    +-- NotPossible                             the thing is in a state that does not allow it
    +-- Sealed                                  a secret does not open with the keys at hand
"""


class NotifierError(Exception):
    """Base of all errors of this package; the text is for people and says what to do."""


class NotFound(NotifierError, LookupError):
    """There is no such thing, or it belongs to another merchant."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class InvalidEndpoint(NotifierError, ValueError):
    """A field of an endpoint cannot be as given."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class RefusedUrl(InvalidEndpoint):
    """A webhook URL that may not be called."""

    def __init__(self, message: str) -> None:
        super().__init__("url", message)


class NotPossible(NotifierError):
    """The endpoint, event or delivery is in a state that does not allow this."""


class DecryptionFailed(NotifierError):
    """A secret of an endpoint does not open with the keys at hand."""

    def __init__(self, endpoint: str, why: str) -> None:
        super().__init__(
            f"the secret of endpoint {endpoint} does not open: {why}; restore the key, or rotate with overlap 0"
        )
        self.endpoint = endpoint
