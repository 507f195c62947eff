"""One generic registry for routers, tasks and backends.

A name is found in this order: registered by decorator in this process, then by an installed entry point (imported only
when asked for), then as ``path/to/file.py:Name``. Nothing is imported before it is needed, so listing names is cheap.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any, TypeVar

from harness.docstrings import class_summary
from harness.errors import MixrouteError, did_you_mean
from harness.files import is_file_name
from harness.text import one_line

T = TypeVar("T", bound=type[Any])
L = TypeVar("L")


def plugin_entry_points(group: str) -> EntryPoints:
    """Entry points of a group; the installed packages are searched once for each ``sys.path``."""
    return _entry_points_on(tuple(sys.path), group)


@cache
def _entry_points_on(path: tuple[str, ...], group: str) -> EntryPoints:
    return entry_points(group=group)


def import_plugin(who: str, load: Callable[[], L]) -> L:
    """What ``load`` imports.

    Raises:
        MixrouteError: whatever it raised; the message begins with ``who``.
    """
    try:
        return load()
    except (KeyboardInterrupt, MixrouteError):
        raise
    except BaseException as error:  # sys.exit, a syntax error: the plug-in's fault in any case
        raise MixrouteError(f"{who} fails on import: {one_line(repr(error))}") from error


class Registry:
    """Names of one kind of plug-in.

    Args:
        kind: Singular noun for messages, such as ``router``.
        group: Entry-point group, such as ``mixroute.routers``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._registered: dict[str, type[Any]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that registers the class as ``name``.

        Raises:
            MixrouteError: another class already has this name.
        """

        def add(cls: T) -> T:
            known = self._registered.get(name)
            if known is not None and known.__qualname__ != cls.__qualname__:
                raise MixrouteError(
                    f"{self.kind} '{name}' is already {known.__module__}.{known.__qualname__}: choose another name"
                )
            self._registered[name] = cls
            return cls

        return add

    def names(self) -> list[str]:
        """All known names, sorted; imports nothing."""
        return sorted({*self._registered, *(point.name for point in plugin_entry_points(self.group))})

    def is_shipped(self, name: str) -> bool:
        """Whether ``name`` comes with mixroute itself; imports nothing."""
        points = (point for point in plugin_entry_points(self.group) if point.name == name)
        return any(point.dist is not None and point.dist.name == "mixroute" for point in points)

    def get(self, name: str) -> type[Any]:
        """The class behind ``name``, which may also be ``path/to/file.py:Name``.

        Raises:
            MixrouteError: unknown name (with the closest known one), missing file or attribute, or failing import.
        """
        if name in self._registered:
            return self._registered[name]
        for point in plugin_entry_points(self.group):
            if point.name == name:
                loaded = import_plugin(f"{self.kind} '{name}' ({point.value})", point.load)
                if not isinstance(loaded, type):
                    raise MixrouteError(f"{self.kind} '{name}' ({point.value}) is no class: correct its package")
                return loaded
        if is_file_name(name):
            path, _, attribute = name.rpartition(":")
            return self._from_file(Path(path), attribute)
        hint = did_you_mean(name, self.names(), f"known: {', '.join(self.names())}")
        raise MixrouteError(f"unknown {self.kind} '{name}': {hint}")

    def about(self, name: str) -> str:
        """The first line of the docstring behind ``name``; if it cannot be imported, that it is broken, and why.

        That of a shipped plug-in is read from its source: importing all of them to list them would take seconds.
        """
        if name not in self._registered and self.is_shipped(name):
            for point in plugin_entry_points(self.group):
                if point.name == name and (line := class_summary(point.value)):
                    return line
        try:
            return (inspect.getdoc(self.get(name)) or "").partition("\n")[0]
        except MixrouteError as error:
            return f"broken: {error}"

    def _from_file(self, path: Path, attribute: str) -> type[Any]:
        if not path.is_file():
            raise MixrouteError(f"{self.kind} file {path} does not exist: give path/to/file.py:Name")
        module_name = f"mixroute_plugin_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}"
        module = sys.modules.get(module_name)
        if module is None:
            spec = importlib.util.spec_from_file_location(module_name, path)
            if spec is None or spec.loader is None:
                raise MixrouteError(f"{self.kind} file {path} is not a Python module")
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            try:
                spec.loader.exec_module(module)
            except Exception as error:
                del sys.modules[module_name]
                raise MixrouteError(f"{self.kind} file {path} fails on import: {error!r}") from error
        found = getattr(module, attribute, None)
        if not isinstance(found, type):
            raise MixrouteError(f"{path} has no class '{attribute}': check the name after the colon")
        return found


routers = Registry("router", "mixroute.routers")
tasks = Registry("task", "mixroute.tasks")
backends = Registry("backend", "mixroute.backends")

register_router = routers.register
register_task = tasks.register
register_backend = backends.register
