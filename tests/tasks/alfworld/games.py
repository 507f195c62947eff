"""Small game sets in both packagings, written for tests."""

import json
import lzma
from pathlib import Path

from tests.tasks.alfworld.small import TASK, WINNING, problem

KIND = "pick_heat_then_place_in_recep"
NAMES = ("trial_b", "trial_a")


def grammar(task: str = TASK) -> str:
    """As much of a text grammar as the reader looks at."""
    return 'grammar :: """\n{"task": [\n{"rhs": ' + json.dumps(task) + '}\n]}\n""";'


def game_file(**changes: object) -> str:
    """Content of a ``game.tw-pddl``."""
    content = {
        "pddl_domain": "(define (domain alfred))",
        "grammar": grammar(),
        "pddl_problem": problem(),
        "walkthrough": list(WINNING),
        "solvable": True,
    }
    return json.dumps(content | changes)


def place(folder: Path, split: str, name: str, kind: str = KIND) -> Path:
    """The path of a game file in the official layout, with its folder made."""
    path = folder / "json_2.1.1" / split / f"{kind}-Apple-None-Cabinet-1" / name / "game.tw-pddl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_unpacked(folder: Path, split: str = "valid_seen") -> Path:
    """The set as game files; returns the folder."""
    for name in NAMES:
        place(folder, split, name).write_text(game_file())
    return folder


def write_packed(folder: Path, split: str = "valid_seen", suffix: str = ".jsonl.xz") -> Path:
    """The set as JSON lines, among a game of another split; returns the folder."""
    stem = "alfworld_train" if split == "train" else "alfworld_eval"
    lines = []
    for where, name in [("elsewhere", "trial_x"), *((split, name) for name in NAMES)]:
        identifier = f"{where}/{KIND}-Apple-None-Cabinet-1/{name}"
        # Packed problems may differ in whitespace: the content is the same.
        record = {"id": identifier, "task_type": KIND, "task": TASK, "pddl_problem": problem().replace("\n", "\n  ")}
        lines.append(json.dumps(record | {"walkthrough": list(WINNING)}))
    content = ("\n".join(lines) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}{suffix}").write_bytes(lzma.compress(content) if suffix.endswith("xz") else content)
    return folder
