"""YAML files into checked models, with errors that name the file, the key, the value and the fix."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from harness.errors import MixrouteError, did_you_mean
from harness.text import cut, quoted
from harness.yaml_files import read_yaml

NAME = "^[a-z0-9_-][a-z0-9._-]*$"
"""Pattern of names of suites, pools and recipes, after which folders are named."""
_SHOWN = 5
"""Wrong keys that an error names."""


class Strict(BaseModel):
    """Base of all file formats: unknown keys are errors, values are immutable, and numbers are finite and no texts or
    truth values, which pydantic would convert.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: object, info: ValidationInfo) -> object:
        if info.field_name and _wants_number(cls.model_fields[info.field_name].annotation):  # type: ignore[arg-type] # hashable
            for one in value if isinstance(value, list | tuple) else [value]:
                if isinstance(one, bool | str):
                    what = "a text" if isinstance(one, str) else "true or false"
                    raise ValueError(f"{what}, where a number is wanted")  # noqa: TRY004 - pydantic takes no other
        return value


@cache
def _wants_number(annotation: Hashable) -> bool:
    """Whether an annotation is of a number, or of a list of numbers, and takes neither text nor truth values."""
    kinds = {annotation} | {part for one in get_args(annotation) for part in (one, *get_args(one))}
    return bool(kinds & {int, float}) and not kinds & {bool, str, dict, Any}


S = TypeVar("S", bound=Strict)


def load_yaml(path: Path, model: type[S]) -> S:
    """Read ``path`` and check it against ``model``.

    Raises:
        MixrouteError: the file is missing, is no YAML mapping, or has a wrong key or value.
    """
    content = read_yaml(path)
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
        path = Path(name).expanduser()
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for names that are too long
            fix = "give another path, or make it, as the suite or recipe that names it says"
            raise MixrouteError(f"{kind} file {path} does not exist: {fix}")
        return path
    path = shipped / f"{name}.yaml"
    if os.path.isfile(path):  # noqa: PTH113 - as above
        return path
    names = shipped_names(shipped)
    hint = did_you_mean(name, names, f"shipped: {', '.join(names)}; or give a path to a .yaml file")
    raise MixrouteError(f"unknown {kind} {quoted(name)}: {hint}")


def shipped_names(shipped: Path) -> list[str]:
    """Names of the shipped files in a folder, sorted."""
    return sorted(path.stem for path in shipped.glob("*.yaml"))


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    parts = []
    for item in error.errors()[:_SHOWN]:
        key = cut(".".join(str(part) for part in item["loc"]), 80)
        if item["type"] == "extra_forbidden":
            hint = did_you_mean(str(item["loc"][-1]), _all_fields(model), "")
            parts.append(f"unknown key '{key}'" + (f": {hint}" if hint else ""))
        elif item["type"] == "missing":
            parts.append(f"key '{key}' is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(f"key '{key}' = {quoted(item['input'])}: {message}" if key else message)
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


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
