"""YAML files into checked models, with errors that name the file, the key, the value and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import MixrouteError, did_you_mean


class Strict(BaseModel):
    """Base of all file formats: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Strict)


if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast, where PyYAML has libyaml


class _UniqueKeys(_SafeLoader):
    """Refuses repeated keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, model: type[S]) -> S:
    """Read ``path`` and check it against ``model``.

    Raises:
        MixrouteError: the file is missing, is no YAML mapping, or has a wrong key or value.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise MixrouteError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MixrouteError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise MixrouteError(f"{path} must hold a mapping of keys, not {type(content).__name__}")
    return check(content, model, str(path))


def check(content: dict[str, Any], model: type[S], where: str) -> S:
    """Validate ``content``; ``where`` names its origin in the error."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise MixrouteError(f"{where}: {_explain(error, model)}") from error


def find_file(kind: str, name: str, shipped: Path) -> Path:
    """The file of a pool, suite or recipe, given by the name of a shipped one or by a path.

    Raises:
        MixrouteError: neither exists; the closest shipped name is suggested.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            fix = "give another path, or make it, as the suite or recipe that names it says"
            raise MixrouteError(f"{kind} file {path} does not exist: {fix}")
        return path
    path = shipped / f"{name}.yaml"
    if path.is_file():
        return path
    names = shipped_names(shipped)
    hint = did_you_mean(name, names, f"shipped: {', '.join(names)}; or give a path to a .yaml file")
    raise MixrouteError(f"unknown {kind} '{name}': {hint}")


def shipped_names(shipped: Path) -> list[str]:
    """Names of the shipped files in a folder, sorted."""
    return sorted(path.stem for path in shipped.glob("*.yaml"))


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            hint = did_you_mean(str(item["loc"][-1]), _all_fields(model), "")
            parts.append(f"unknown key '{key}'" + (f": {hint}" if hint else ""))
        elif item["type"] == "missing":
            parts.append(f"key '{key}' is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(f"key '{key}' = {item['input']!r}: {message}" if key else message)
    return "; ".join(parts)


def _all_fields(model: type[BaseModel]) -> list[str]:
    """Field names of a model and of the models nested in it."""
    names: list[str] = []
    pending: list[Any] = [model]
    seen: list[Any] = []
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.append(current)
        pending.extend(get_args(current))
        if isinstance(current, type) and issubclass(current, BaseModel):
            for name, info in current.model_fields.items():
                names.append(name)
                pending.append(info.annotation)
    return names
