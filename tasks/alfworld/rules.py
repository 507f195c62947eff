"""What ALFWorld's agents are told: the rules, observations as they are shown, and example episodes."""

from __future__ import annotations

from mixroute import Observation, SolvedEpisode, TaskRules, Turn
from tasks.alfworld.dialect import Dialect, translate
from tasks.alfworld.game import Game
from tasks.alfworld.generate import GeneratedGame
from tasks.alfworld.texts import BANNER

EXAMPLES = (2,)
"""Generated train games whose walkthroughs may be shown."""

_GOAL = "Your task is to: "


def rules_in(dialect: Dialect) -> TaskRules:
    """The rules, with the dialect's words for putting an object down."""
    put = dialect.put_command.format(o="O", r="R")
    return TaskRules(
        brief=(
            "You act in a house, one command a line: look, inventory, go to R, open R, close R, examine X, use O, "
            f"take O from R, {put}, clean O with R, heat O with R, cool O with R, slice O with O.\n"
        ),
        setting="You act in a house through a text interface to reach the goal you are given.",
        rules=(
            ". Commands, where R is a receptacle and O an object, each with its number, as in 'go to shelf 2':\nlook\n"
            "inventory\ngo to R\nopen R\nclose R\nexamine R\nexamine O\nuse O\ntake O from R\n"
            f"{put}\nclean O with R\nheat O with R\ncool O with R\nslice O with O\n"
            "You carry one object at most. Receptacles may be closed: open them to see what is in them. "
            "A command that cannot be carried out is answered 'Nothing happens.'."
        ),
        noun="command",
    )


def shown(observation: Observation) -> str:
    """An observation without the banner and without empty lines."""
    return observation.text.removeprefix(BANNER).strip().replace("\n\n", "\n")


def goal_of(first: Observation) -> str:
    """The goal that the first observation of a game states, or all of it where it states none."""
    return first.text.rpartition(_GOAL)[2].strip()


def example(number: int, dialect: str) -> SolvedEpisode:
    """A generated train game, won by its walkthrough."""
    data = GeneratedGame("train", number).load()
    game = Game(data.problem, data.task, dialect)
    observation, turns = Observation(game.reset()), []
    for command in data.walkthrough:
        words = translate(command, dialect)
        turns.append(Turn(observation, words, words))
        observation = Observation(game.step(words))
    return SolvedEpisode(turns, observation)
