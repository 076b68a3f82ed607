"""The methods of both clients, each said once: what a function of :mod:`watcher.client` asks for is sent.

A descriptor makes the method: with :class:`Client` it returns what comes back, with :class:`AsyncClient` something to await.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from watcher.client import merchants as admin
from watcher.client import payment_intents, webhooks
from watcher.client.request import A, Paged, Request
from watcher.client.types import Talk

if TYPE_CHECKING:
    from watcher.client.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class Call(Generic[P, A]):
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


class TalkCall(Generic[P, A]):
    """A method that sends as many requests as it needs, and returns the last answer."""

    def __init__(self, build: Callable[P, Talk[A]]) -> None:
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


class Each(Generic[P, A, T]):
    """A method that iterates over a whole list, fetching page after page."""

    def __init__(self, build: Callable[P, Paged[A, T]]) -> None:
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

    create_intent = Call(payment_intents.create_intent)
    create_intents = Call(payment_intents.create_intents)
    intent = Call(payment_intents.intent)
    intents = Call(payment_intents.intents)
    each_intent = Each(payment_intents.intents)
    cancel_intent = Call(payment_intents.cancel_intent)
    mark_intent = Call(payment_intents.mark_intent)
    dismiss_intent = Call(payment_intents.dismiss_intent)
    wait_for = TalkCall(payment_intents.wait_for)
    transfer = Call(payment_intents.transfer)
    transfers = Call(payment_intents.transfers)
    each_transfer = Each(payment_intents.transfers)
    assign_transfer = Call(payment_intents.assign_transfer)

    add_endpoint = Call(webhooks.add_endpoint)
    endpoint = Call(webhooks.endpoint)
    endpoints = Call(webhooks.endpoints)
    each_endpoint = Each(webhooks.endpoints)
    change_endpoint = Call(webhooks.change_endpoint)
    remove_endpoint = Call(webhooks.remove_endpoint)
    rotate_endpoint_secret = Call(webhooks.rotate_endpoint_secret)
    test_endpoint = Call(webhooks.test_endpoint)
    recover_endpoint = Call(webhooks.recover_endpoint)
    replay_endpoint = Call(webhooks.replay_endpoint)
    delivery = Call(webhooks.delivery)
    deliveries = Call(webhooks.deliveries)
    each_delivery = Each(webhooks.deliveries)
    retry_delivery = Call(webhooks.retry_delivery)
    dismiss_delivery = Call(webhooks.dismiss_delivery)
    event = Call(webhooks.event)
    events = Call(webhooks.events)
    each_event = Each(webhooks.events)
    redeliver_event = Call(webhooks.redeliver_event)
    pull = Call(webhooks.pull)
    each_pulled = Each(webhooks.pull)
    status = Call(webhooks.status)

    add_merchant = Call(admin.add_merchant)
    merchant = Call(admin.merchant)
    merchants = Call(admin.merchants)
    each_merchant = Each(admin.merchants)
    change_merchant = Call(admin.change_merchant)
    rotate_merchant_key = Call(admin.rotate_merchant_key)
    merchant_keys = Call(admin.merchant_keys)
    add_merchant_key = Call(admin.add_merchant_key)
    revoke_merchant_key = Call(admin.revoke_merchant_key)
