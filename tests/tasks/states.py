"""States of episodes: those of an expert's own play, and those of a player that makes mistakes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.contracts import Expert, Teachable, Thinker
from mixroute import Observation, Task, Turn


@dataclass(frozen=True, slots=True)
class State:
    """A step before its action is taken, with what the expert thinks and does."""

    turns: tuple[Turn, ...]
    observation: Observation
    thought: str
    action: str
    probed: str
    """What the probe is answered in this state."""


def states(
    task: Task,
    numbers: Sequence[int],
    slips: float = 0.0,
    junk: Sequence[str] = (),
    *,
    fatal: Sequence[str] = (),
    probe: str = "",
) -> Iterator[State]:
    """Every state of some episodes. The expert is shown what the agent sees, without the admissible actions.

    Args:
        task: Task to play.
        numbers: Numbers of its instances.
        slips: Chance that a step is a mistake: an action that is or was admissible, or one of ``junk``.
        junk: Actions that a bad player may give.
        fatal: Actions that no mistake is.
        probe: Action that changes nothing, tried in each state.
    """
    assert isinstance(task, Teachable)
    expert: Expert = task.expert()
    assert isinstance(expert, Thinker)
    for number in numbers:
        environment = task.open(task.instances()[number])
        observation, turns, done, rng = environment.reset(), list[Turn](), False, random.Random(number)
        offered: set[str] = set()
        while not done and len(turns) < task.step_cap:
            blind = Observation(observation.text)
            action = expert.act(turns, blind)
            probed = environment.step(probe)[0].text if probe else ""
            yield State(tuple(turns), blind, expert.think(turns, blind), action, probed)
            offered.update(set(observation.admissible).difference(fatal))
            if rng.random() < slips:
                options = [sorted(offered), sorted(set(observation.admissible).difference(fatal)), list(junk)]
                action = rng.choice(rng.choice([one for one in options if one] or [[action]]))
            turns.append(Turn(blind, action, action))
            observation, _, done = environment.step(action)


def assert_one_line_without_tags(found: Sequence[State]) -> None:
    """Thoughts are one line of moderate length, and no tag can be read into them."""
    assert found
    for state in found:
        assert state.thought == " ".join(state.thought.split())
        assert not set("<>") & set(state.thought)
        assert 40 <= len(state.thought) <= 240
