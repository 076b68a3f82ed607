"""Descriptors that make one declaration a method of both clients: blocking in one, awaited in the other."""

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar, overload

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


class _Call(Generic[P, A]):
    """A method of both clients: what ``build`` returns goes to the client's method named ``_way``."""

    _way: ClassVar[str]

    def __init__(self, build: Callable[P, Any]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: SyncCalls, owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: AsyncCalls, owner: type) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else _bound(self.build, getattr(client, self._way))


class Method(_Call[P, A]):
    """A method that sends the one request that ``build`` returns."""

    _way = "send"

    def __init__(self, build: Callable[P, Request[A]]) -> None:
        super().__init__(build)


class PageMethod(Method[P, A], Generic[P, A, T]):
    """A method that sends the request for one page of a list."""

    def __init__(self, build: Callable[P, PageRequest[A, T]]) -> None:
        super().__init__(build)
        self.build_page = build


class WorkflowMethod(_Call[P, A]):
    """A method that sends as many requests as it needs, and returns the last answer."""

    _way = "talk"

    def __init__(self, build: Callable[P, Workflow[A]]) -> None:
        super().__init__(build)


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
