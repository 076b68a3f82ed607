"""How help looks: typer's own, without a type beside switches, and with examples kept as they are written."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

_NAMES = {"help_option_names": ["-h", "--help"]}


class _Switches:
    """Shows a switch as ``--json``, not as ``--json <bool>``."""

    def get_params(self, ctx: typer.Context) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
        return params


class _Command(_Switches, TyperCommand):
    pass


class _Group(_Switches, TyperGroup):
    pass


class Commands(typer.Typer):
    """A noun with its verbs; called without a verb it shows them."""

    def __init__(self, name: str, about: str, **options: Any) -> None:
        super().__init__(
            name=name,
            help=about,
            cls=_Group,
            no_args_is_help=True,
            add_completion=False,
            context_settings=_NAMES,
            **options,
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a command; the decorated function's docstring is its help."""
        return super().command(name, cls=_Command, **options)
