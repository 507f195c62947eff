"""Suites: which routers play which tasks with which pool. A YAML file becomes one ``RunConfig`` for each run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from harness.comma_lists import split_at_commas
from harness.config import NAME, Strict, check, find_file, load_yaml
from harness.errors import MixrouteError
from harness.files import name_without_folder
from harness.sharing import SharedCache
from harness.text import appearance, cut, quoted
from harness.yaml_files import check_plain, parse_yaml

SHIPPED = Path(__file__).parent / "suites"

Mode = Literal["deterministic", "throughput"]


class Calibration(Strict):
    """Development instances on which thresholds are chosen. They are never reported."""

    split: str
    limit: int | None = Field(None, ge=1)


def _plain_arguments(args: dict[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold, with the home folder for ``~`` at the beginning of a path."""
    for key, value in args.items():
        check_plain(value, key)
    return {key: _expanded(value) if isinstance(value, str) else value for key, value in args.items()}


def _expanded(name: str) -> str:
    return str(Path(name).expanduser()) if name.startswith("~/") else name


Arguments = Annotated[dict[str, Any], AfterValidator(_plain_arguments)]
"""Constructor arguments of a plug-in."""
PluginName = Annotated[str, AfterValidator(_expanded)]
"""Name of a plug-in, or ``path/to/file.py:Class``."""


SCAFFOLD = "prompt"
"""The constructor argument of a task that names its scaffold."""


class TaskEntry(Strict):
    """A task of the suite. ``limit`` takes a fixed sample, spread evenly over the kinds of instance.

    A key ``scaffold``, with a name or a ``.yaml`` file, is short for the argument ``prompt``.
    """

    task: PluginName
    split: str
    limit: int | None = Field(None, ge=1)
    args: Arguments = Field(default_factory=dict)
    calibration: Calibration | None = None

    @model_validator(mode="before")
    @classmethod
    def _scaffold_is_an_argument(cls, value: object) -> object:
        if not isinstance(value, dict) or "scaffold" not in value:
            return value
        scaffold, args = value["scaffold"], value.get("args", {})
        if not isinstance(scaffold, str) or not scaffold:
            raise ValueError(f"scaffold = {quoted(scaffold)}: give the name of a scaffold, or a .yaml file")
        if isinstance(args, dict) and SCAFFOLD in args:
            raise ValueError(f"'scaffold' and args.{SCAFFOLD} name the same: give one of them")
        given = {**args, SCAFFOLD: scaffold} if isinstance(args, dict) else args
        return {**{key: one for key, one in value.items() if key != "scaffold"}, "args": given}

    @model_validator(mode="after")
    def _split_is_not_calibrated_on(self) -> Self:
        if "split" in self.args:
            raise ValueError(f"args of task '{self.task}': 'split' is a key of the task itself")
        if self.calibration and self.calibration.split == self.split:
            raise ValueError(
                f"calibration split '{self.calibration.split}' of task '{self.task}' is the split that is reported: "
                "choose thresholds on other games, such as split dev or train"
            )
        return self


class RouterEntry(Strict):
    """A router of the suite with its constructor arguments. ``label`` names its row on the board."""

    router: PluginName
    args: Arguments = Field(default_factory=dict)
    label: str = ""
    curve: str = ""
    """Name of a curve on the board. Routers that share it are its points, such as one method at several thresholds."""
    seeds: list[int] | None = Field(default=None, min_length=1)
    """Root seeds instead of the suite's, such as more of them for a router that draws at random."""
    tasks: list[str] | None = Field(default=None, min_length=1)
    """Names of the tasks that it plays; all if not given. For a router that was trained on one task."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"router": value} if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """The label, or the router with its arguments."""
        arguments = ", ".join(f"{key}={value}" for key, value in self.args.items())
        router = name_without_folder(self.router)
        return self.label or (f"{router}({arguments})" if arguments else router)


class Suite(Strict):
    """A list of runs that belong together."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    description: str = ""
    pool: str
    tasks: list[TaskEntry] = Field(min_length=1)
    routers: list[RouterEntry] = Field(min_length=1)
    seeds: list[int] = Field(default=[0], min_length=1)
    mode: Mode = "deterministic"
    temperature: float = Field(default=0.0, ge=0)
    concurrency: int = Field(default=16, ge=1)
    """Episodes that are played at the same time. Changes no result in deterministic mode."""
    router_timeout: float = Field(default=60.0, gt=0)
    """Seconds that a router may spend on a step from one question to a model to the next, without the answers."""
    environment_timeout: float = Field(default=3600.0, gt=0)
    """Seconds that a call into an environment may take, and that a model with questions may answer none."""

    @property
    def folder(self) -> Path:
        """Where its runs go if nothing else is asked for."""
        return Path("runs") / self.name

    def routers_of(self, task: str) -> list[RouterEntry]:
        """The routers that play a task."""
        return [entry for entry in self.routers if entry.tasks is None or task in entry.tasks]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        tasks = [entry.task for entry in self.tasks]
        for task in tasks:
            names = [entry.name for entry in self.routers_of(task)]
            seen: dict[str, str] = {}
            for name in names:
                other = seen.setdefault(appearance(name), name)
                if names.count(name) > 1:
                    raise ValueError(f"two routers share the label {quoted(name)}: give each its own 'label'")
                if other != name:
                    raise ValueError(f"two labels look alike, {other!a} and {name!a}: give each its own 'label'")
        for entry in self.routers:
            for task in entry.tasks or []:
                if task not in tasks:
                    raise ValueError(
                        f"router {quoted(entry.name)} is to play task {quoted(task)}: the suite has {', '.join(tasks)}"
                    )
        for seeds in (self.seeds, *(entry.seeds or [] for entry in self.routers)):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds {quoted(seeds)} repeat one: list each once")
        return self


class RunConfig(Strict):
    """Settings of one run that may change its result; made by ``harness.engine.identity.run_config``."""

    task: str
    """Name of the task, or ``file.py:Class`` without its folder."""
    task_args: dict[str, Any]
    """With the constructor's defaults; without arguments that only say where the data lies."""
    split: str
    limit: int | None
    """None also where the split has no more instances."""
    pool: str
    """Name of the pool, not its file."""
    router: str
    """Name of the router, or ``file.py:Class`` without its folder."""
    router_args: dict[str, Any]
    """With the constructor's defaults."""
    seed: int
    mode: Mode
    temperature: float
    kv_cache: SharedCache | None = Field(default=None, exclude_if=lambda sharing: sharing is None)  # as the pool's


def load_suite(name: str) -> Suite:
    """Load a shipped suite by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file("suite", name, SHIPPED), Suite)


def part_of(suite: Suite, names: Sequence[str]) -> Suite:
    """The part of a suite that ``names`` names: tasks, and routers by label.

    Where no task is named, all tasks remain; likewise routers.

    Raises:
        MixrouteError: a name that is neither a task nor a router of the suite.
    """
    tasks = [entry for entry in suite.tasks if entry.task in names]
    routers = [entry for entry in suite.routers if entry.name in names]
    known = [entry.task for entry in suite.tasks] + [entry.name for entry in suite.routers]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MixrouteError(
            f"--only {quoted(unknown[0])}: suite '{suite.name}' has no task and no router of this name: use some of "
            f"{', '.join(known)}"
        )
    return suite.model_copy(update={"tasks": tasks or suite.tasks, "routers": routers or suite.routers})


def with_changes(
    suite: Suite,
    *,
    routers: Sequence[str | RouterEntry] = (),
    only: Sequence[str] = (),
    pool: str | None = None,
    scaffold: str | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (),
    concurrency: int | None = None,
    mode: Mode | None = None,
) -> Suite:
    """The suite with what is asked for instead of its own values; what is empty or None stays as it is.

    Args:
        suite: What to change.
        routers: Entries, or texts as ``parse_router`` reads them.
        only: Tasks and routers of ``suite`` to keep, see ``part_of``.
        pool: Name of a pool, or a ``.yaml`` file.
        scaffold: Scaffold of every task: a name, or a ``.yaml`` file.
        limit: Number of instances of each task.
        seeds: Root seeds.
        concurrency: Episodes at once.
        mode: Mode of play.

    Raises:
        MixrouteError: a wrong value, or a name in ``only`` that the suite does not have.
    """
    content = suite.model_dump(by_alias=True)
    if pool:
        content["pool"] = pool
    for task in content["tasks"]:
        if limit is not None:
            task["limit"] = limit
        if scaffold is not None:
            task["args"] = {**task["args"], SCAFFOLD: scaffold}
    if seeds:
        content["seeds"] = list(seeds)
    if concurrency is not None:
        content["concurrency"] = concurrency
    if mode is not None:
        content["mode"] = mode
    changed = part_of(check(content, Suite, f"suite '{suite.name}'"), only)
    if routers:
        entries = [one if isinstance(one, RouterEntry) else parse_router(one) for one in routers]
        changed = changed.model_copy(update={"routers": entries})
        changed = check(changed.model_dump(by_alias=True), Suite, f"suite '{suite.name}'")
    return changed


def parse_router(text: str) -> RouterEntry:
    """A router from the command line: ``NAME`` or ``NAME,key=value,…``; NAME may be ``path/to/file.py:Class``.

    Values are YAML: commas within brackets, braces and quotes belong to them.

    Raises:
        MixrouteError: an argument without ``=``, given twice, or with an unreadable value.
    """
    file = _FILE_AND_CLASS.match(text)  # whose folder may have a comma in its name
    name, *pairs = split_at_commas(text[file.end() :] if file else text)
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise MixrouteError(f"--router {cut(text, 80)}: {quoted(pair)} is not key=value")
        if key in arguments:
            raise MixrouteError(f"--router {cut(text, 80)}: '{key}' is given twice")
        where = f"--router {cut(text, 80)}: {quoted(value)}"
        try:
            arguments[key] = parse_yaml(value, where)
        except MixrouteError as error:
            why = str(error).removeprefix(f"{where} is not YAML: ")
            raise MixrouteError(f"{where} is not a value ({why}): put it in quotes if it is a text") from error
    return check(
        {"router": (file[0] if file else "") + name, "args": arguments}, RouterEntry, f"--router {cut(text, 80)}"
    )


_FILE_AND_CLASS = re.compile(r"[^=]*?\.py:\w+(?=,|$)")
