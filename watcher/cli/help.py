"""Command groups with typer's help, but without a type beside switches."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

_NAMES = {"help_option_names": ["-h", "--help"]}


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """Show switches as ``--json`` instead of ``--json <bool>``."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


class Commands(typer.Typer):
    """A command group, which shows its help when called without a command."""

    def __init__(self, name: str, about: str, *, add_completion: bool = False, **options: Any) -> None:
        super().__init__(
            name=name,
            help=about,
            cls=_Group,
            no_args_is_help=True,
            add_completion=add_completion,
            context_settings=_NAMES,
            **options,
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command; the decorated function's docstring is its help."""
        return super().command(name, cls=_Command, **options)
