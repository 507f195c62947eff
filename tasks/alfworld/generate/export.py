"""Export of generated games to files that the original engine plays."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.alfworld.generate import GeneratedGame, games_of
from tasks.alfworld.original import package_logic


def write_games(
    folder: Path, split: str, games: int | None = None, seed: int = 0, logic: tuple[str, str] | None = None
) -> list[Path]:
    """Write the games of a split as ``<folder>/alfworld-gen/<split>/<type-…>/<trial>/game.tw-pddl``.

    Beside each lies the little of ``traj_data.json`` that the original's loader asks for. The layout is not that of the
    official set, so that the task ``alfworld`` never takes these games for official ones.

    Args:
        folder: Where to write; made if missing.
        split: ``train``, ``dev`` or ``test``.
        games: How many; default all of a fixed split, and 600 of ``train``.
        seed: Number of the first game; ``train`` only.
        logic: PDDL domain and text grammar to embed; default those of the installed package ``alfworld``.

    Returns:
        The game files, sorted.

    Raises:
        MixrouteError: unknown split or numbers, or no ``logic`` and no installed package.
    """
    numbers = games_of(split, games, seed)
    domain, grammar = logic or package_logic()
    written = []
    for number in numbers:
        game = GeneratedGame(split, number)
        layout, data = game.layout(), game.load()
        target = layout.target or "DeskLamp"
        trial = folder / "alfworld-gen" / split / f"{game.kind}-{layout.wanted}-None-{target}-0" / f"trial_{number:07d}"
        trial.mkdir(parents=True, exist_ok=True)
        content = {
            "pddl_domain": domain,
            "grammar": grammar.replace("Your task is to: UNKNOWN GOAL.", data.task),
            "pddl_problem": data.problem,
            "walkthrough": list(data.walkthrough),
            "solvable": True,
        }
        parameters = {
            "object_target": layout.wanted,
            "parent_target": layout.target,
            "toggle_target": "" if layout.target else "DeskLamp",
            "mrecep_target": "",
            "object_sliced": False,
        }
        path = trial / "game.tw-pddl"
        path.write_text(json.dumps(content), encoding="utf-8")
        trajectory = {"task_id": trial.name, "task_type": game.kind, "pddl_params": parameters}
        (trial / "traj_data.json").write_text(json.dumps(trajectory), encoding="utf-8")
        written.append(path)
    return sorted(written)
