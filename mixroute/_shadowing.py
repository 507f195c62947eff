"""The check that Python finds our packages and not files of the user that have the same names."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("harness", "routers", "tasks")


def check_shadowing() -> None:
    """Check that ``harness``, ``routers`` and ``tasks`` are the packages that were installed with this one.

    Raises:
        MixrouteError: a file or folder of such a name comes first on ``sys.path``, or was imported before; the message
            names it. As the command ``mixroute`` this ends the process with one line and exit code 2 instead.
    """
    for name in _PACKAGES:
        found = _found(name)
        if found is None or found == _ROOT / name / "__init__.py":
            continue
        message = (
            f"{found} hides mixroute's own package '{name}': rename it, or run from a folder that does not hold it "
            f"(mixroute's is {_ROOT / name})"
        )
        program = (sys.argv or [""])[0]  # "-m" while the package of ``python -m`` is imported
        if program == "-m" or Path(program).name == "mixroute":
            sys.stderr.write(f"error: {message}\n")
            raise SystemExit(2)
        raise _error_class()(message)


def _found(name: str) -> Path | None:
    """The file that ``import name`` would run, or a folder without ``__init__.py``; imports nothing."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was made by hand
        return None
    if spec is None:
        return None
    if spec.has_location and spec.origin is not None:
        return Path(spec.origin).resolve()
    return Path(next(iter(spec.submodule_search_locations or [name]))).resolve()


def _error_class() -> type[Exception]:
    """``MixrouteError`` from our own file, since ``import harness`` may find another one."""
    spec = spec_from_file_location("harness.errors", _ROOT / "harness" / "errors.py")
    if spec is None or spec.loader is None:
        return ImportError
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    error: type[Exception] = module.MixrouteError
    return error
