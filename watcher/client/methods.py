"""Descriptors that make one declaration a method of both clients: blocking in one, awaited in the other."""

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from watcher.client.request import A, PageRequest, Request
from watcher.client.types import Workflow

P = ParamSpec("P")
T = TypeVar("T")


class SyncCalls(ABC):
    """What a blocking client does with requests."""

    @abstractmethod
    def send(self, request: Request[A]) -> A:
        """Send a request and return its answer."""

    @abstractmethod
    def talk(self, workflow: Workflow[A]) -> A:
        """Send the requests of a workflow and return the last answer."""

    @abstractmethod
    def each(self, request: PageRequest[A, T]) -> Iterator[T]:
        """Iterate over all pages."""


class AsyncCalls(ABC):
    """What a client for asyncio does with requests."""

    @abstractmethod
    async def send(self, request: Request[A]) -> A:
        """Send a request and return its answer."""

    @abstractmethod
    async def talk(self, workflow: Workflow[A]) -> A:
        """Send the requests of a workflow and return the last answer."""

    @abstractmethod
    def each(self, request: PageRequest[A, T]) -> AsyncIterator[T]:
        """Iterate over all pages."""


class Method(Generic[P, A]):
    """A method that sends the one request that ``build`` returns."""

    def __init__(self, build: Callable[P, Request[A]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: SyncCalls, owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: AsyncCalls, owner: type) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else _bound(self.build, client.send)


class PageMethod(Method[P, A], Generic[P, A, T]):
    """A method that sends the request for one page of a list."""

    def __init__(self, build: Callable[P, PageRequest[A, T]]) -> None:
        super().__init__(build)
        self.build_page = build


class WorkflowMethod(Generic[P, A]):
    """A method that sends as many requests as it needs, and returns the last answer."""

    def __init__(self, build: Callable[P, Workflow[A]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: SyncCalls, owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: AsyncCalls, owner: type) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else _bound(self.build, client.talk)


class PaginatedMethod(Generic[P, A, T]):
    """A method that iterates over a whole list, fetching page after page."""

    def __init__(self, page: PageMethod[P, A, T]) -> None:
        self.build = page.build_page
        self.__doc__ = f"Iterate over all pages of :meth:`{self.build.__name__}`."

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: SyncCalls, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncCalls, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        method = _bound(self.build, client.each)
        method.__doc__ = self.__doc__
        return method


def _bound(build: Callable[P, Any], call: Callable[[Any], Any]) -> Callable[P, Any]:
    @functools.wraps(build)
    def method(*args: P.args, **named: P.kwargs) -> Any:
        return call(build(*args, **named))

    return method
