"""The methods of both clients, each said once: what a function of :mod:`watcher.client` asks for is sent.

A descriptor makes the method: with :class:`Client` it returns what comes back, with :class:`AsyncClient` something to await.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from watcher.client import merchants as admin
from watcher.client import payment_intents, webhooks
from watcher.client.request import A, PageRequest, Request
from watcher.client.types import Workflow

if TYPE_CHECKING:
    from watcher.client.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class Method(Generic[P, A]):
    """A method that sends one request and returns its answer."""

    def __init__(self, build: Callable[P, Request[A]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @functools.wraps(self._build)
        def call(*args: P.args, **named: P.kwargs) -> Any:
            return client.send(self._build(*args, **named))

        return call


class WorkflowMethod(Generic[P, A]):
    """A method that sends as many requests as it needs, and returns the last answer."""

    def __init__(self, build: Callable[P, Workflow[A]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @functools.wraps(self._build)
        def call(*args: P.args, **named: P.kwargs) -> Any:
            return client.talk(self._build(*args, **named))

        return call


class PaginatedMethod(Generic[P, A, T]):
    """A method that iterates over a whole list, fetching page after page."""

    def __init__(self, build: Callable[P, PageRequest[A, T]]) -> None:
        self._build = build
        self.__doc__ = f"Iterate over all pages of :meth:`{build.__name__}`."

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @functools.wraps(self._build)
        def call(*args: P.args, **named: P.kwargs) -> Any:
            return client.each(self._build(*args, **named))

        call.__doc__ = self.__doc__
        return call


class Methods:
    """Everything that can be asked for."""

    create_intent = Method(payment_intents.create_intent)
    create_intents = Method(payment_intents.create_intents)
    intent = Method(payment_intents.intent)
    intents = Method(payment_intents.intents)
    each_intent = PaginatedMethod(payment_intents.intents)
    cancel_intent = Method(payment_intents.cancel_intent)
    mark_intent = Method(payment_intents.mark_intent)
    dismiss_intent = Method(payment_intents.dismiss_intent)
    wait_for = WorkflowMethod(payment_intents.wait_for)
    transfer = Method(payment_intents.transfer)
    transfers = Method(payment_intents.transfers)
    each_transfer = PaginatedMethod(payment_intents.transfers)
    assign_transfer = Method(payment_intents.assign_transfer)

    add_endpoint = Method(webhooks.add_endpoint)
    endpoint = Method(webhooks.endpoint)
    endpoints = Method(webhooks.endpoints)
    each_endpoint = PaginatedMethod(webhooks.endpoints)
    change_endpoint = Method(webhooks.change_endpoint)
    remove_endpoint = Method(webhooks.remove_endpoint)
    rotate_endpoint_secret = Method(webhooks.rotate_endpoint_secret)
    test_endpoint = Method(webhooks.test_endpoint)
    recover_endpoint = Method(webhooks.recover_endpoint)
    replay_endpoint = Method(webhooks.replay_endpoint)
    delivery = Method(webhooks.delivery)
    deliveries = Method(webhooks.deliveries)
    each_delivery = PaginatedMethod(webhooks.deliveries)
    retry_delivery = Method(webhooks.retry_delivery)
    dismiss_delivery = Method(webhooks.dismiss_delivery)
    event = Method(webhooks.event)
    events = Method(webhooks.events)
    each_event = PaginatedMethod(webhooks.events)
    redeliver_event = Method(webhooks.redeliver_event)
    pull = Method(webhooks.pull)
    each_pulled = PaginatedMethod(webhooks.pull)
    status = Method(webhooks.status)

    add_merchant = Method(admin.add_merchant)
    merchant = Method(admin.merchant)
    merchants = Method(admin.merchants)
    each_merchant = PaginatedMethod(admin.merchants)
    change_merchant = Method(admin.change_merchant)
    rotate_merchant_key = Method(admin.rotate_merchant_key)
    merchant_keys = Method(admin.merchant_keys)
    add_merchant_key = Method(admin.add_merchant_key)
    revoke_merchant_key = Method(admin.revoke_merchant_key)
