"""Opening of lm-eval tasks from its YAML, with data from the hub or from local files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import cache_folder
from harness.text import one_line
from mixroute import MixrouteError

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

OWN = Path(__file__).parent / "benchmarks"
"""Tasks in lm-eval's format that lm-eval does not have."""

_FORMATS = {".jsonl": "json", ".jsonl.xz": "json", ".json": "json", ".parquet": "parquet"}

_SPLITS = {"train": "training_split", "validation": "validation_split", "test": "test_split"}

FEWSHOT_SEED = 1234
"""lm-eval's default seed for few-shot examples."""


def open_benchmark(
    name: str, data: str | Path | None, split: str, shots: int | None, *, unsafe_code: bool
) -> list[ConfigurableTask]:
    """The leaves of an lm-eval task, group or ``.yaml`` file.

    Args:
        name: Name in lm-eval or in ``benchmarks``, or the path of a YAML file.
        data: Folder with the splits as files; see ``_local``.
        split: ``train``, ``validation`` or ``test``.
        shots: Few-shot examples; None for the task's own number.
        unsafe_code: Whether the user allows tasks that run what models write.

    Raises:
        MixrouteError: lm-eval is not installed, or the name, data, split or a setting is wrong.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MixrouteError(f"task 'reasoning' needs lm-eval: pip install 'mixroute[reasoning]' ({error})") from error
    if split not in _SPLITS:
        raise MixrouteError(f"reasoning has no split '{split}': use one of {', '.join(_SPLITS)}")
    path = _yaml_of(name)
    wanted = _name_in(path) if path else name
    # A task needs its own folder; a group may have members anywhere, and lm-eval indexes 14,000 names in 15 seconds.
    alone = path is not None and isinstance(_raw(path).get("task"), str)
    manager = TaskManager(include_path=str(path.parent if path else OWN), include_defaults=not alone)
    leaves = []
    for leaf, config in _configs(manager, wanted):
        _check(leaf, config, split, unsafe_code=unsafe_code)
        changes = _local(leaf, config, data)
        if shots is not None:
            changes["num_fewshot"] = shots
        leaves.append(_load(manager, leaf, {**config, **changes}, changes))
    return leaves


def docs_of(task: ConfigurableTask, split: str) -> None:
    """Let ``build_all_requests`` read ``split``.

    Raises:
        MixrouteError: the task has no such split.
    """
    key = _SPLITS[split]
    chosen = getattr(task.config, key)
    if chosen is None:
        has = [name for name, other in _SPLITS.items() if getattr(task.config, other) is not None]
        raise MixrouteError(f"{task.config.task} has no split '{split}' (or no file of it): use {', '.join(has)}")
    docs = {"train": task.training_docs, "validation": task.validation_docs, "test": task.test_docs}[split]()
    task.task_docs = docs
    # eval_docs looks for test first and validation next.
    if split != "test":
        task.config.test_split = None
    if split == "train":
        task.config.validation_split = chosen


def _yaml_of(name: str) -> Path | None:
    """The YAML file of a task; None if only lm-eval's index can find it."""
    import lm_eval

    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise MixrouteError(f"benchmark {name}: there is no such file")
        return path.resolve()
    for folder in (OWN, Path(next(iter(lm_eval.__path__))) / "tasks"):
        for path in sorted(folder.rglob(f"{name}.yaml")):
            if _name_in(path) == name:
                return path
    return None


def _raw(path: Path) -> dict[str, Any]:
    """A task's YAML with its includes; functions are named and not imported."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        return dict(load_yaml(path, resolve_func=False))
    except Exception as error:
        raise MixrouteError(f"{path} is not a task of lm-eval: {error}") from error


def _name_in(path: Path) -> str:
    config = _raw(path)
    name = config.get("task") if isinstance(config.get("task"), str) else config.get("group")
    if not isinstance(name, str):
        raise MixrouteError(f"{path} names no 'task' or 'group'")
    return name


def _configs(manager: TaskManager, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and YAML of the tasks behind a name."""
    entry = manager.task_index.get(name)
    if entry is None:
        close = [known for known in manager.all_tasks if name.lower() in known.lower()][:3]
        hint = f"did you mean {', '.join(close)}?" if close else "'lm_eval ls tasks' lists them"
        raise MixrouteError(f"lm-eval has no task '{name}': {hint}")
    config = _raw(entry.yaml_path) if entry.yaml_path else dict(entry.cfg or {})
    members = sorted(entry.tags) if entry.tags and name in manager.all_tags else config.get("task")
    if not isinstance(members, list):
        yield name, config
        return
    for member in members:
        child = member if isinstance(member, str) else member.get("task") or member.get("group")
        if not isinstance(child, str):
            raise MixrouteError(f"group '{name}' of lm-eval has the member {member!r}: name its tasks one by one")
        yield from _configs(manager, child)


def _check(name: str, config: dict[str, Any], split: str, *, unsafe_code: bool) -> None:
    if config.get("output_type", "generate_until") != "generate_until":
        raise MixrouteError(f"{name} asks for '{config['output_type']}': only generation tasks can be routed")
    if config.get("unsafe_code") and not (unsafe_code and os.environ.get("HF_ALLOW_CODE_EVAL") == "1"):
        raise MixrouteError(
            f"{name} runs the code that models write: if you are in a sandbox, allow it with the argument "
            "allow_unsafe_code: true and the environment variable HF_ALLOW_CODE_EVAL=1"
        )
    if (config.get("repeats") or 1) > 1:
        raise MixrouteError(f"{name} asks each question {config['repeats']} times: voting is for a router to do")


def _local(name: str, config: dict[str, Any], data: str | Path | None) -> dict[str, Any]:
    """Changes to a task's YAML so that its data comes from files ``SPLIT.jsonl`` (.jsonl.xz, .json, .parquet).

    They lie in ``data``; else in ``$REASONING_DATA`` under the data set's name (``gsm8k``, ``MATH-500``) and, where it
    has one, its configuration's (``hendrycks_math/algebra``). Nothing is changed where there is no such folder.

    Raises:
        MixrouteError: ``data`` has no file of any split.
    """
    dataset = str(config.get("dataset_path", "")).rpartition("/")[2]
    root = os.environ.get("REASONING_DATA")
    if data is not None:
        folders = [Path(data).expanduser()]
    elif root and dataset:
        base = Path(root).expanduser() / dataset
        folders = [base / str(config.get("dataset_name")), base]
    else:
        return {}
    keys = (*_SPLITS.values(), "fewshot_split")
    splits = {str(config[key]) for key in keys if config.get(key)}
    for folder in folders:
        found = {
            split: folder / f"{split}{suffix}"
            for split in sorted(splits)
            for suffix in reversed(_FORMATS)
            if (folder / f"{split}{suffix}").is_file()
        }
        if not found:
            continue
        suffix = "".join(next(iter(found.values())).suffixes)
        changes: dict[str, Any] = {
            "dataset_path": _FORMATS[suffix],
            "dataset_name": None,
            "dataset_kwargs": {
                "data_files": {split: str(file) for split, file in found.items()},
                "cache_dir": str(cache_folder("datasets")),
            },
        }
        return changes | {key: None for key in keys if config.get(key) and str(config[key]) not in found}
    if data is not None:
        files = " or ".join(f"{split}.jsonl" for split in sorted(splits))
        raise MixrouteError(f"{folders[0]} holds no data of {name}: put {files} there (.jsonl.xz, .json, .parquet)")
    return {}


def _load(manager: TaskManager, name: str, config: dict[str, Any], changes: dict[str, Any]) -> ConfigurableTask:
    shots = config.get("num_fewshot") or 0
    if shots and "fewshot_split" in changes and not (config.get("fewshot_config") or {}).get("samples"):
        raise MixrouteError(f"{name} draws {shots} examples from a split that has no file: add it, or set few_shot: 0")
    group = {"group": "mixroute", "task": [{"task": name, **changes}]}
    try:
        with redirect_stderr(StringIO()):  # where data sets draw their progress
            task: ConfigurableTask = manager.load([group])["tasks"][name]
    except MixrouteError:
        raise
    except Exception as error:
        why = one_line(error)
        raise MixrouteError(
            f"{name} cannot be opened ({type(error).__name__}: {why}): without a network, point data= or "
            "$REASONING_DATA at a folder with its data; docs/reasoning.md"
        ) from error
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    return task
