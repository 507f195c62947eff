"""One generic registry for routers, tasks and backends.

A name is found in this order: registered by decorator in this process, then by an installed entry point (imported only
when asked for), then as ``path/to/file.py:Name``. Nothing is imported before it is needed, so listing names is cheap.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from harness.docstrings import class_summary
from harness.errors import MixrouteError, did_you_mean
from harness.files import is_file_name
from harness.guard import described, interrupts_noted, raise_users
from harness.sources import Helper, helpers_of, sources_hash
from harness.text import one_line

C = TypeVar("C", bound=type[Any])
T = TypeVar("T")


def plugin_entry_points(group: str) -> EntryPoints:
    """Entry points of a group; the installed packages are searched once for each ``sys.path``."""
    return _entry_points_on(tuple(sys.path), group)


@cache
def _entry_points_on(path: tuple[str, ...], group: str) -> EntryPoints:
    return entry_points(group=group)


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

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator that registers the class as ``name``.

        Raises:
            MixrouteError: another class already has this name.
        """

        def add(cls: C) -> C:
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
                loaded: Any = import_plugin(f"{self.kind} '{name}' ({point.value})", point.load)
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
                with suppress(Exception):  # its import says what is wrong
                    if point.name == name and (line := class_summary(point.value)):
                        return line
        try:
            return (inspect.getdoc(self.get(name)) or "").partition("\n")[0]
        except MixrouteError as error:
            return f"broken: {error}"

    def _from_file(self, path: Path, attribute: str) -> type[Any]:
        if not path.is_file():
            raise MixrouteError(f"{self.kind} file {path} does not exist: give path/to/file.py:Name")
        found = getattr(_module_of(self.kind, path), attribute, None)
        if not isinstance(found, type):
            raise MixrouteError(f"{path} has no class '{attribute}': check the name after the colon")
        return found


def import_plugin(who: str, load: Callable[[], T]) -> T:
    """What ``load`` imports.

    Raises:
        MixrouteError: whatever it raised; the message begins with ``who``.
    """
    with interrupts_noted():
        try:
            return load()
        except MixrouteError:
            raise
        except BaseException as error:
            raise_users(error)
            raise MixrouteError(f"{who} fails on import: {one_line(described(error))}") from error


_loaded: dict[str, str] = {}
"""Hash of the sources of each plug-in's file that was imported, by the module's name."""


def _module_of(kind: str, path: Path) -> ModuleType:
    """The module of a plug-in's file, imported anew where a source has changed."""
    module_name = f"mixroute_plugin_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}"
    digest = sources_hash(path)
    if module_name in sys.modules and _loaded.get(module_name) == digest:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise MixrouteError(f"{kind} file {path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(module_name)
    sys.modules[module_name] = module
    try:
        with _helpers_importable(path):
            import_plugin(f"{kind} file {path}", partial(spec.loader.exec_module, module))
    except BaseException:
        del sys.modules[module_name]
        if before is not None:
            sys.modules[module_name] = before
        raise
    _loaded[module_name] = digest
    return module


@contextmanager
def _helpers_importable(path: Path) -> Iterator[None]:
    """Import modules beside ``path`` from its folder until the block ends, and then those that its functions import.

    A module of the same name that was imported before, such as the helper of another plug-in, keeps its place.
    """
    folder, helpers = str(path.resolve().parent), helpers_of(path)
    tops = {name for name in helpers if "." not in name}
    before = _pop_modules(tops)
    others = {name for name in tops if name in before and not _is_of(before[name], helpers[name])}
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    # Bytecode is found by second and size: of a file that is edited at once, Python would run what it was before.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
        for name, helper in helpers.items():
            if helper.late:
                with suppress(Exception):  # it says so when the function imports it
                    importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(folder)
        _pop_modules(others)
        sys.modules.update({name: one for name, one in before.items() if name.partition(".")[0] in others})
    for name in sorted(others):
        if any(helper.late for part, helper in helpers.items() if part.partition(".")[0] == name):
            raise MixrouteError(
                f"{path} imports '{name}' within a function, and another module of this name is in use: rename "
                "the file beside it, or import it at the top"
            )


def _pop_modules(tops: Collection[str]) -> dict[str, ModuleType]:
    """Take modules of these names, and those below them, out of the imported ones."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in tops}


def _is_of(module: ModuleType, helper: Helper) -> bool:
    """Whether a module was made of this file, at whatever time."""
    origin = getattr(module, "__file__", None)
    return origin is not None and helper.path is not None and Path(origin).resolve() == helper.path.resolve()


routers = Registry("router", "mixroute.routers")
tasks = Registry("task", "mixroute.tasks")
backends = Registry("backend", "mixroute.backends")

register_router = routers.register
register_task = tasks.register
register_backend = backends.register
