"""The source files of a plug-in that is given by its file: the file, and the modules beside it that it imports."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ELSEWHERE = sys.stdlib_module_names | {"harness", "mixroute", "routers", "tasks"}
"""Modules that a file beside a plug-in does not hide."""


@dataclass(slots=True)
class Helper:
    """A module beside a plug-in's file."""

    path: Path | None
    """Its source; None for a folder without ``__init__.py``."""
    late: bool
    """Whether it is imported within a function, which may be after the plug-in's own import."""


def helpers_of(path: Path) -> dict[str, Helper]:
    """The modules in the folder of ``path`` that it imports, and those that these import, by their dotted names.

    Import statements are read and nothing is run: a module that is imported by ``importlib`` is not seen.
    """
    found: dict[str, Helper] = {}
    left = [(path, "")]
    while left:
        source, package = left.pop()
        for name, late in _imported(source, package):
            if name.partition(".")[0] in _ELSEWHERE:
                continue
            for length in range(1, name.count(".") + 2):
                part = ".".join(name.split(".")[:length])
                if part in found:
                    found[part].late |= late
                    continue
                helper = _find(path.parent, part)
                if helper is None:
                    break
                found[part] = Helper(helper if helper.is_file() else None, late)
                if helper.is_file():
                    left.append((helper, part if helper.name == "__init__.py" else part.rpartition(".")[0]))
    return found


def sources_hash(path: Path) -> str:
    """SHA-256 (hex) of a file, or where it has helpers, of the names and contents of all of them.

    Raises:
        OSError: one cannot be read.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    helpers = sorted({helper.path for helper in helpers_of(path).values() if helper.path is not None} - {path})
    if not helpers:
        return digest
    parts = {one.relative_to(path.parent).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in helpers}
    whole = json.dumps({"": digest, **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()


def _find(folder: Path, name: str) -> Path | None:
    """The source of a module below ``folder``, or its folder."""
    place = folder.joinpath(*name.split("."))
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if file.is_file():
            return file
    return place if place.is_dir() and any(place.glob("*.py")) else None


def _imported(source: Path, package: str) -> Iterator[tuple[str, bool]]:
    """Dotted names that a module may import, and whether that is within a function.

    Args:
        source: The module's file.
        package: Dotted name of the package that it lies in, for relative imports; empty if in none.
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # its import says so
        return
    for node, late in _imports(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
            continue
        above = package.split(".")[: package.count(".") + 2 - node.level] if node.level and package else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        if base and (above or not node.level):
            yield base, late
            yield from ((f"{base}.{alias.name}", late) for alias in node.names if alias.name != "*")


def _imports(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    pending = [(tree, False)]  # no recursion: expressions may be nested deeper than Python's stack
    while pending:
        node, late = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, late
        within = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += reversed([(child, within) for child in ast.iter_child_nodes(node)])
