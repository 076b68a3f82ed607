"""The dashboard: pages for merchants and operators who are signed in.

A module in this folder that has a ``router`` (or several ``routers``) is served; there is no list of them.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from fastapi import APIRouter


def routers() -> Iterator[APIRouter]:
    """Yield the routers of all modules, in the order of their names; what catches the rest comes last."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    for module in sorted(modules, key=lambda one: getattr(one, "IS_LAST", False)):
        if hasattr(module, "router"):
            yield module.router
        yield from getattr(module, "routers", ())
