"""The source code that a completion depends on, as a hash."""

from __future__ import annotations

import hashlib
import inspect
import secrets
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

_HARNESS = Path(__file__).parents[1]
_MOST_FILES = 500


@cache
def source_hash(backend: type[Any]) -> str:
    """SHA-256 (hex) of the code that computes the completions of a backend, as it was when first asked for.

    It covers this package's backends and weights; the class's qualified name; and for the class and each base class of
    a plug-in its whole top-level package, or its module where that is not in a package or the package has more than 500
    files. A class without a source file, such as one defined in a notebook, gets a hash of its own in each process.
    """
    digest = hashlib.sha256(backend.__qualname__.encode())
    own = [_HARNESS / "data.py", _HARNESS / "numbers.py"]
    own += (path for folder in ("backends", "weights") for path in (_HARNESS / folder).rglob("*.py"))
    _update(digest, _HARNESS, own)
    for cls in backend.__mro__:
        package = cls.__module__.partition(".")[0]
        if package == "harness" or package in sys.stdlib_module_names:
            continue
        try:
            module = Path(inspect.getfile(cls))
        except (OSError, TypeError):
            digest.update(secrets.token_bytes())
            continue
        root = _package_folder(cls.__module__)
        files = [] if root is None else list(root.rglob("*.py"))
        if root is not None and len(files) <= _MOST_FILES:
            _update(digest, root, files)
        else:
            _update(digest, module.parent, [module])
    return digest.hexdigest()


def _package_folder(module: str) -> Path | None:
    """Folder of the outermost package around a module that has an ``__init__.py``; None if there is none."""
    names = module.split(".")
    for count in range(1, len(names) + 1):
        package = sys.modules.get(".".join(names[:count]))
        if hasattr(package, "__path__") and (file := getattr(package, "__file__", None)):
            return Path(file).parent
    return None


def _update(digest: hashlib._Hash, root: Path, files: Iterable[Path]) -> None:
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
