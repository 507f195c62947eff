"""Construction of plug-ins from names and arguments. Errors name the wrong argument before a model is loaded."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from harness import registry
from harness.contracts import Router, Task, role_of
from harness.errors import MixrouteError, did_you_mean
from harness.guard import call_plugin, interrupts_noted, raise_users
from harness.json_files import check_values
from harness.suite import SCAFFOLD
from harness.text import quoted


def build(kind: registry.Registry, name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - each registry has its own protocol
    """Construct the plug-in ``name`` with ``arguments``.

    Raises:
        MixrouteError: unknown name, an argument that the constructor does not take, a missing one, or a value that it
            refuses (``TypeError`` and ``ValueError`` of the constructor are reported with the plug-in's name).
    """
    cls = kind.get(name)
    parameters = inspect.signature(cls).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if key not in parameters and not open_ended:
            takes = f"it takes: {', '.join(parameters) or 'no arguments'}"
            if kind is registry.tasks and key == SCAFFOLD:
                takes += "; it has prompts of its own, and no scaffold"
            hint = did_you_mean(key, parameters, takes)
            raise MixrouteError(f"{kind.kind} '{name}' takes no argument '{key}': {hint}")
    missing = [
        key for key, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and key not in arguments
    ]  # fmt: skip
    if missing:
        raise MixrouteError(f"{kind.kind} '{name}' needs the argument '{missing[0]}'")
    _checked(kind, name, cls, arguments)
    with interrupts_noted():
        try:
            return cls(**arguments)
        except MixrouteError:
            raise
        except BaseException as error:
            raise_users(error)
            reason = str(error) if isinstance(error, TypeError | ValueError) else repr(error)
            raise MixrouteError(
                f"{kind.kind} '{name}' refuses its arguments {quoted(dict(arguments))}: {reason}"
            ) from error


def complete_arguments(kind: registry.Registry, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of the plug-in ``name`` in their normal form, which is the same however they are spelled:
    with the defaults of those that are not given, values in the annotated types, and as JSON.

    An argument that the class lists in ``added_arguments`` came later than runs of it. At its default it is left out,
    so that these keep their hashes.

    Raises:
        MixrouteError: unknown name, or a value of another type.
    """
    cls = kind.get(name)
    parameters = inspect.signature(cls).parameters.items()
    defaults = {key: one.default for key, one in parameters if one.default is not one.empty}
    whole = defaults | dict(arguments)
    checked = _checked(kind, name, cls, whole)
    added = set(getattr(cls, "added_arguments", ()))
    checked = {key: one for key, one in checked.items() if key not in added or one != defaults.get(key)}
    return {
        key: _as_json(f"{kind.kind} '{name}': {key} = {checked[key]!r:.80}", checked[key]) for key in sorted(checked)
    }


def _as_json(what: str, value: object) -> object:
    try:
        text = json.dumps(value, sort_keys=True, default=str, allow_nan=False, ensure_ascii=False)
        text.encode()
        check_values(plain := json.loads(text))
    except (TypeError, ValueError) as error:  # an infinite number, text that is not Unicode, keys of several types
        raise MixrouteError(f"{what} cannot be recorded: {error}") from error
    return plain


def _checked(kind: registry.Registry, name: str, cls: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the types of the constructor's annotations (1.0 for 1 where a float is wanted), with an error
    for any other type than was meant, which YAML may have read.
    """
    try:
        hints = get_type_hints(cls.__init__)
    except (NameError, TypeError):  # annotations that cannot be resolved are not ours to judge
        return dict(arguments)
    checked = dict(arguments)
    for key, value in arguments.items():
        if key not in hints:
            continue
        adapter: TypeAdapter[Any]
        try:
            adapter = TypeAdapter(hints[key], config=ConfigDict(strict=True, arbitrary_types_allowed=True))
            checked[key] = adapter.validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].lower()
            hint = " (put it in quotes)" if "string" in message else ""
            raise MixrouteError(f"{kind.kind} '{name}': {key} = {quoted(value)}: {message}{hint}") from error
        except PydanticUserError:
            continue
    return checked


def open_task(name: str, /, **arguments: Any) -> Task:  # noqa: ANN401 - each task declares its own arguments
    """Open a task, such as ``open_task("alfworld", data="…", split="valid_unseen")``.

    Args:
        name: Registered name, entry point or ``path/to/file.py:Name``.
        **arguments: What the task's constructor takes; ``split`` for every task.

    Raises:
        MixrouteError: unknown task or argument, missing or corrupt data.
    """
    return cast("Task", build(registry.tasks, name, arguments))


def open_router(name: str, /, **arguments: Any) -> Router:  # noqa: ANN401 - each router declares its own arguments
    """Construct a router from its registered name, entry point or ``path/to/file.py:Name``.

    Raises:
        MixrouteError: unknown router or argument, a class without an ``act`` method, or a role that is none.
    """
    router: Any = build(registry.routers, name, arguments)
    if not call_plugin(f"router '{name}'", "granularity", lambda: isinstance(router, Router)):
        raise MixrouteError(f"router '{name}' has no 'act' and 'granularity': derive it from mixroute.StepRouter")
    role_of(router)  # a wrong role is reported before anything is played
    return cast("Router", router)
