"""A typed client of the HTTP API, sync and async, for merchants' programs and for the command line.

It loads no database and no server. Answers are models of :mod:`watcher.schemas`, their JSON in ``raw``. ::

    from watcher.client import Client, Refused

    with Client("https://pay.example", "sk_live_…") as client:
        intent = client.create_intent(50_000, reference="ORDER-7", expires_in="30m")
        print(intent.pay.memo, intent.raw["pay"])
        for event in client.each_pulled(after=last_seen):
            handle(event.body)
"""

from watcher.client.client import AsyncClient, Client
from watcher.client.errors import ApiError, NotFound, RateLimited, Refused, Unauthorized, Unreachable

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "NotFound",
    "RateLimited",
    "Refused",
    "Unauthorized",
    "Unreachable",
]
