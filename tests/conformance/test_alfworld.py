"""The own ALFWorld engine and the original, side by side on the same random play."""

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.contracts import Task
from harness.data import Instance
from harness.errors import EpisodeError, MixrouteError
from harness.plugins import open_task
from tasks.alfworld.data import TASK_TYPES, GameData, GameFile
from tasks.alfworld.dialect import translate
from tasks.alfworld.generate.export import write_games
from tasks.alfworld.original import OriginalEnvironment
from tests.conformance.original import original_engine
from tests.shared_data import shared
from tests.tasks.alfworld.small import TASK, problem

STEPS = 30
WORKERS = min(4, os.cpu_count() or 1)
DISTURBANCES = ("", "look around", " inventory ", "LOOK", "go to nowhere 1", "put mug 1 in/on desk 1", "move a to b")


@pytest.fixture(autouse=True)
def _original() -> Iterator[None]:
    with original_engine():
        yield


def differences(original: Task, own: Task, instance: Instance, seed: str) -> int:
    """Steps played alike by both engines; fails at the first difference.

    Verbs are drawn before commands, since most commands are ``go to``; one action in ten is no command at all.
    """
    rng = random.Random(seed)
    ours = next(one for one in own.instances() if one.id == instance.id)
    left, right = original.open(instance), own.open(ours)
    try:
        seen, expected = right.reset(), left.reset()
        assert seen == expected, instance.id
        for step in range(STEPS):
            verbs = sorted({command.split()[0] for command in expected.admissible})
            verb = rng.choice(verbs)
            action = rng.choice([command for command in expected.admissible if command.split()[0] == verb])
            if rng.random() < 0.1:
                action = rng.choice(DISTURBANCES)
            (seen, *ours_result), (expected, *their_result) = right.step(action), left.step(action)
            assert seen == expected, (instance.id, step, action)
            assert ours_result == their_result, (instance.id, step, action)
            if ours_result[1]:
                return step + 1
    finally:
        left.close()
        right.close()
    return STEPS


def compare(name: str, dialect: str, **arguments: object) -> int:
    """Play a game of each task type in both engines, of every other type in 0.3; returns the steps compared."""
    original = open_task(name, engine="textworld", dialect=dialect, **arguments)
    own = open_task(name, dialect=dialect, **arguments)
    # Other games each day would find more, but a failing test must fail again.
    rng = random.Random(f"{name} {dialect}")
    kinds = TASK_TYPES if dialect == "0.4" else TASK_TYPES[::2]
    chosen = [rng.choice([one for one in original.instances() if one.kind == kind]) for kind in kinds]
    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(lambda one: differences(original, own, one, f"{dialect} {one.id}"), chosen))


@pytest.mark.parametrize("dialect", ["0.4", "0.3"])
def test_generated_games_play_alike(dialect: str) -> None:
    assert compare("alfworld-gen", dialect, split="test") > 40


@pytest.mark.parametrize(("split", "dialect"), [("valid_unseen", "0.4"), ("valid_seen", "0.3")])
def test_official_games_play_alike(split: str, dialect: str) -> None:
    assert compare("alfworld", dialect, data=shared("data", "alfworld"), split=split) > 40


def test_a_small_game_plays_alike() -> None:
    # One of everything, an object in two receptacles and two receptacles at one place among it.
    game = GameData("small", TASK, problem())
    instance = Instance("small", "", _Loaded(game))
    task = open_task("alfworld-gen", split="dev", games=1, engine="textworld")
    own = open_task("alfworld-gen", split="dev", games=1)
    own.instances = lambda: [instance]  # type: ignore[method-assign]
    for seed in range(2):
        differences(task, own, instance, f"small {seed}")


class _Loaded:
    """A source that has its game already."""

    def __init__(self, game: GameData) -> None:
        self._game = game

    def load(self) -> GameData:
        return self._game


def test_written_games_load_and_win_in_the_original(tmp_path: Path) -> None:
    paths = write_games(tmp_path, "dev", games=6)

    def won(path: Path) -> bool:
        game = GameFile(path.parent.name, path).load()
        assert json.loads(path.read_text())["walkthrough"] == list(game.walkthrough)
        env = OriginalEnvironment(game, "0.4")
        try:
            observation = env.reset()
            for command in game.walkthrough:
                assert command == translate(command, "0.4")
                assert command in observation.admissible
                observation, _, done = env.step(command)
            return done
        finally:
            env.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        assert list(pool.map(won, paths)) == [True] * 6


def test_a_game_that_the_original_cannot_load_is_an_episode_error() -> None:
    env = OriginalEnvironment(GameData("broken", TASK, "(define"), "0.4")
    with pytest.raises(EpisodeError, match="the original engine failed"):
        env.reset()
    env.close()
    env.close()


def test_a_python_without_the_engine_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIXROUTE_TEXTWORLD_PYTHON", str(tmp_path / "python"))
    with pytest.raises(MixrouteError, match=r"not available .*cannot be started.*pip install 'mixroute\[alfworld\]'"):
        open_task("alfworld-gen", engine="textworld")
