"""Commands that installed packages bring; one that cannot be used says so, and the others work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from harness.errors import MixrouteError
from harness.registry import import_plugin, plugin_entry_points
from harness.text import clean, one_line

GROUP = "mixroute.commands"
"""Entry points; their names are ``NAME`` or ``train NAME``."""

_broken: dict[str, str] = {}


def broken_commands() -> dict[str, str]:
    """The commands that ``add_commands`` could not use, and why."""
    return dict(_broken)


def add_commands(app: typer.Typer, train: typer.Typer) -> None:
    """Take in the commands of installed packages. In place of one that cannot be used, there is one that says why."""
    for point in plugin_entry_points(GROUP):
        group, _, name = point.name.rpartition(" ")
        try:
            function = import_plugin(f"command '{point.name}' ({point.value})", point.load)
            if point.dist is None or point.dist.name != "mixroute":
                _check(point.name, function)
        except MixrouteError as error:
            _broken[point.name] = str(error)
            function = _saying(str(error))
        (train if group == "train" else app).command(name)(function)


def _check(name: str, function: Any) -> None:  # noqa: ANN401 - whatever a package names
    """Refuse what would end every command when the options are put together.

    Raises:
        MixrouteError: no command can be made of it.
    """
    alone = typer.Typer()
    try:
        alone.command("alone")(function)
        typer.main.get_command(alone)
    except Exception as error:
        raise MixrouteError(f"command '{name}' is none: {one_line(repr(error))}") from error


def _saying(why: str) -> Callable[[], None]:
    def broken() -> None:
        raise MixrouteError(why)

    broken.__doc__ = f"Broken: {clean(why)}"
    return broken
