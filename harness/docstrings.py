"""Docstrings read from source files, without importing them."""

from __future__ import annotations

import ast
import importlib.util
from importlib.machinery import PathFinder
from pathlib import Path

_MOST_IMPORTS = 5  # that are followed from a package's face to where a class is defined


def class_summary(target: str) -> str | None:
    """The first line of a class's own docstring; None where the source does not show it.

    Args:
        target: ``module:Class``, as an entry point has it; the module may import the class from another.
    """
    module, _, name = target.partition(":")
    for _ in range(_MOST_IMPORTS):
        source = _source_of(module)
        if source is None:
            return None
        found = _definition(ast.parse(source.read_bytes()), name)
        if isinstance(found, ast.ClassDef):
            return (ast.get_docstring(found) or "").partition("\n")[0] or None
        if found is None:
            return None
        module, name = found
    return None


def _definition(tree: ast.Module, name: str) -> ast.ClassDef | tuple[str, str] | None:
    """The class ``name`` of a module, or the module and the name that it is imported from."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.module, alias.name
    return None


def _source_of(module: str) -> Path | None:
    """The source file of a module. Unlike ``importlib.util.find_spec`` this imports no parent package."""
    first, *rest = module.split(".")
    spec = importlib.util.find_spec(first)
    name = first
    for part in rest:
        name = f"{name}.{part}"
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
