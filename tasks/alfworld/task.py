"""The tasks ``alfworld`` (official games) and ``alfworld-gen`` (generated ones), and the native environment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from mixroute import Environment, Instance, MixrouteError, Observation, ScaffoldedTask, SolvedEpisode, TaskRules
from tasks.alfworld import rules
from tasks.alfworld.data import FIX, GameData, data_folder, find_games, fingerprint
from tasks.alfworld.dialect import get_dialect
from tasks.alfworld.expert import Expert, stored
from tasks.alfworld.game import Game
from tasks.alfworld.generate import GeneratedGame, games_of
from tasks.alfworld.official import OFFICIAL
from tasks.alfworld.original import OriginalEnvironment, check_installed
from tasks.alfworld.pddl import PddlError

ENGINES = ("native", "textworld")


class NativeEnvironment:
    """A game in the pure-Python engine.

    Args:
        data: The game.
        dialect: ``0.4`` or ``0.3``.

    Raises:
        MixrouteError: the game's problem is corrupt.
    """

    def __init__(self, data: GameData, dialect: str) -> None:
        self._over = False
        try:
            self._game = Game(data.problem, data.task, dialect)
        except (PddlError, LookupError, ValueError) as error:  # the latter two: a fact with too few or unknown terms
            raise MixrouteError(f"the game {data.id} is corrupt: {error}; {FIX}") from error

    def reset(self) -> Observation:
        """Reset the game."""
        self._over = False
        return Observation(self._game.reset(), self._game.admissible)

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Play one command; the reward is 1.0 when it wins, which ends the game, and 0.0 otherwise."""
        if self._over:
            raise RuntimeError("the game is won: reset it before another step")
        text = self._game.step(action)
        self._over = self._game.won
        return Observation(text, self._game.admissible), float(self._game.won), self._game.won

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class GameTask(ScaffoldedTask):
    """Base class of both tasks: how games are shown, played and scored."""

    name: str
    action_tokens: ClassVar[int] = 24

    def __init__(
        self, split: str, engine: str, dialect: str, show_admissible: bool, prompt: str, step_cap: int
    ) -> None:
        if engine not in ENGINES:
            raise MixrouteError(f"unknown ALFWorld engine '{engine}': use one of {', '.join(ENGINES)}")
        if step_cap < 1:
            raise MixrouteError(f"step_cap = {step_cap}: an episode needs at least one step")
        if engine == "textworld":
            check_installed()
        self.split = split
        self.engine = engine
        self.dialect = get_dialect(dialect).name
        self.step_cap = step_cap
        self.blocking = engine == "textworld"
        super().__init__(prompt, show_admissible=show_admissible)

    @abstractmethod
    def instances(self) -> Sequence[Instance]:
        """The games of the split, sorted by id."""

    def open(self, instance: Instance) -> Environment:
        """A new environment for a game of ``instances()``.

        Raises:
            MixrouteError: the game is corrupt, or the original engine is asked for and not installed.
        """
        data: GameData = instance.data.load()
        if self.engine == "native":
            return NativeEnvironment(data, self.dialect)
        return OriginalEnvironment(data, self.dialect)

    @property
    def rules(self) -> TaskRules:
        """The commands, in the words of the dialect."""
        return rules.rules_in(get_dialect(self.dialect))

    def goal_of(self, first: Observation) -> str:
        """The goal that the first observation states."""
        return rules.goal_of(first)

    def shown(self, observation: Observation, before: Observation | None, *, first: bool) -> str:
        """An observation without the banner and without empty lines."""
        return rules.shown(observation)

    def examples(self, count: int) -> Sequence[SolvedEpisode]:
        """Generated train games, won by their walkthroughs."""
        return [rules.example(number, self.dialect) for number in rules.EXAMPLES[:count]]

    def expert(self) -> Expert:
        """The handcoded expert; see ``tasks.alfworld.expert``."""
        return Expert(stored(), get_dialect(self.dialect))

    def is_success(self, score: float) -> bool:
        """Whether the game was won, which gives a score of 1."""
        return score >= 1

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 of the split's content; computing it reads every game once."""
        return fingerprint(self.instances())

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score."""
        return {
            "task": self.name,
            "split": self.split,
            "games": len(self.instances()),
            "data": self.data_fingerprint,
            "engine": self.engine,
            "dialect": self.dialect,
            "step_cap": self.step_cap,
            **self.prompt_protocol(list_field="commands", examples=list(rules.EXAMPLES[: self.scaffold.examples])),
            "invalid_action": "answered 'Nothing happens.'; costs a step",
        }


class AlfworldTask(GameTask):
    """The official ALFWorld games.

    Args:
        data: Folder of the games: the official layout or the packed files. Default: ``$ALFWORLD_DATA``, else the cache
            folder that ``mixroute data alfworld`` fills.
        split: ``train``, ``valid_seen`` or ``valid_unseen``.
        engine: ``native``, or ``textworld`` for the original (the extra ``alfworld``).
        dialect: ``0.4``, or ``0.3`` for the wording of papers before 2025.
        show_admissible: Whether the admissible commands are listed though the scaffold does not list them.
        prompt: The scaffold, by name or as a file: ``compact``, ``few-shot``, ``chat``, ``think``; docs/scaffolds.md.
        step_cap: Steps after which an episode ends.
    """

    name: str = "alfworld"

    def __init__(
        self,
        data: str | Path | None = None,
        split: str = "valid_seen",
        engine: str = "native",
        dialect: str = "0.4",
        show_admissible: bool = False,
        prompt: str = "compact",
        step_cap: int = 50,
    ) -> None:
        super().__init__(split, engine, dialect, show_admissible, prompt, step_cap)
        self._instances = tuple(find_games(data_folder(data), split))

    @classmethod
    def prepare_data(cls, folder: Path) -> Path:
        """Fetch the official games (36.5 MB) into ``folder``; see ``download.fetch``."""
        from tasks.alfworld.download import fetch

        return fetch(folder)

    def instances(self) -> Sequence[Instance]:
        """The games of the split, sorted by id."""
        return self._instances

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score; ``official_data`` says if the games are the released ones."""
        return {**super().protocol(), "official_data": self.data_fingerprint == OFFICIAL[self.split].fingerprint}


class AlfworldGenTask(GameTask):
    """Generated games in ALFWorld's world. Scores on them are never ALFWorld scores.

    Args:
        split: ``train`` (as many as wanted), ``dev`` (60 games), ``test`` (120 games) or a fresh one (120 games).
        games: How many games; default all of ``dev`` or ``test``, and 600 of ``train``.
        seed: Number of the first game; for ``train`` only.
        engine: ``native``, or ``textworld`` for the original (the extra ``alfworld``).
        dialect: ``0.4`` or ``0.3``.
        show_admissible: Whether the admissible commands are listed though the scaffold does not list them.
        prompt: The scaffold, by name or as a file: ``compact``, ``few-shot``, ``chat``, ``think``; docs/scaffolds.md.
        step_cap: Steps after which an episode ends.
    """

    name: str = "alfworld-gen"
    fresh_games_like: ClassVar[str] = "test"

    def __init__(
        self,
        split: str = "test",
        games: int | None = None,
        seed: int = 0,
        engine: str = "native",
        dialect: str = "0.4",
        show_admissible: bool = False,
        prompt: str = "compact",
        step_cap: int = 50,
    ) -> None:
        super().__init__(split, engine, dialect, show_admissible, prompt, step_cap)
        found = [GeneratedGame(split, number) for number in games_of(split, games, seed)]
        self._instances = tuple(Instance(game.id, game.kind, game) for game in found)

    @classmethod
    def prepare_data(cls, folder: Path) -> Path:
        """Write the dev and test games into ``folder`` as files that the original engine plays."""
        from tasks.alfworld.generate.export import write_games

        for split in ("dev", "test"):
            write_games(folder, split)
        return folder

    def instances(self) -> Sequence[Instance]:
        """The games of the split, sorted by id."""
        return self._instances
