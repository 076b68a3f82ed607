# ruff: noqa: A002 (an id is called id)
"""Errors of this package.

A failed attempt is not one: it is a :class:`notifier.sender.SendResult` that is stored and retried.

::

    NotifierError
    +-- NotFound            (also LookupError)  no such endpoint, event or delivery, or another merchant's
    +-- InvalidEndpoint     (also ValueError)   a field of an endpoint is invalid; ``.field``
    |   +-- RefusedUrl                          the URL may not be called
    +-- NotPossible                             the state of the endpoint, event or delivery forbids it
    +-- DecryptionFailed                        a webhook secret cannot be decrypted with the keys at hand
"""


class NotifierError(Exception):
    """Base of all errors of this package; the message is for operators and says what to do."""


class NotFound(NotifierError, LookupError):
    """No such endpoint, event or delivery, or it belongs to another merchant."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class InvalidEndpoint(NotifierError, ValueError):
    """Invalid field of an endpoint."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class RefusedUrl(InvalidEndpoint):
    """Webhook URL that may not be called."""

    def __init__(self, message: str) -> None:
        super().__init__("url", message)


class NotPossible(NotifierError):
    """Operation that the state of the endpoint, event or delivery forbids."""


class DecryptionFailed(NotifierError):
    """Webhook secret that cannot be decrypted with the keys at hand."""

    def __init__(self, endpoint: str, why: str) -> None:
        super().__init__(
            f"the secret of endpoint {endpoint} cannot be decrypted: {why};"
            " restore the key, or rotate with overlap 0"
        )
        self.endpoint = endpoint
