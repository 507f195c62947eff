"""Demonstrations: episodes that a task's expert plays, from the start or from where a model left the expert's path."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.contracts import Expert, Task, Teachable, expert_thought, taught_reply
from harness.data import Instance, Observation, Turn
from harness.engine.opening import OpenTask, open_instances
from harness.errors import MixrouteError
from harness.records import Episode
from harness.seeding import seed_for
from harness.suite import TaskEntry
from harness.training.mistakes import MistakenThoughts, mistaken_action
from harness.training.recipe import Lesson


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A solved episode. ``taught`` marks the replies that are the expert's, thought and action, which are learned."""

    instance: Instance
    turns: tuple[Turn, ...]
    taught: tuple[bool, ...]
    final: Observation


def as_played(episode: Episode) -> Demonstration:
    """A demonstration with every action of a played episode marked."""
    turns = episode.turns
    return Demonstration(
        Instance(episode.instance), turns, (True,) * len(turns), Observation(episode.final_observation)
    )


def open_lesson(lesson: Lesson, seen: Collection[str] = ()) -> OpenTask:
    """Open a lesson's task.

    Args:
        lesson: Lesson to open.
        seen: Instances that the model was trained on before, as named by ``trained_on``.

    Raises:
        MixrouteError: the task has no expert, or the reasons of ``open_instances``.
    """
    entry = TaskEntry(task=lesson.task, split=lesson.split, args=lesson.args, limit=lesson.limit)
    opened = open_instances(entry, without=seen if lesson.unseen else ())
    if not isinstance(opened.task, Teachable):
        raise MixrouteError(f"task '{lesson.task}' has no expert to learn from: give it an 'expert' method")
    return opened


def demonstrations(
    lesson: Lesson, opened: OpenTask, seed: int, played: Mapping[str, Episode] | None = None
) -> Iterator[Demonstration]:
    """The lesson's solved episodes, in the order of its instances.

    Args:
        lesson: Lesson to play.
        opened: The lesson's task and instances.
        seed: Root seed of slips and takeovers.
        played: For a lesson with ``takeover``: the model's episodes, by instance.
    """
    task = opened.task
    assert isinstance(task, Teachable)  # noqa: S101 - checked by open_lesson
    expert = task.expert()
    for instance in opened.instances:
        rng = random.Random(seed_for(seed, instance.id, "lesson"))  # noqa: S311 - reproducible on purpose
        student: Sequence[Turn] = ()
        if lesson.takeover:
            student = _until_departure(played[instance.id], expert, rng) if played and instance.id in played else ()
            if not student:
                continue
        thoughts = None
        if lesson.mistaken_thoughts and (clean := _demonstrate(task, instance, expert, (), 0.0, rng)):
            thoughts = MistakenThoughts(lesson.mistaken_thoughts, clean.turns, rng)
        shown = _demonstrate(task, instance, expert, student, lesson.slips, rng, thoughts)
        if shown is not None:
            yield shown


def _demonstrate(
    task: Task,
    instance: Instance,
    expert: Expert,
    student: Sequence[Turn],
    slips: float,
    rng: random.Random,
    mistaken: MistakenThoughts | None = None,
) -> Demonstration | None:
    """Play the turns of ``student``, then let the expert finish; None if the expert does not solve it."""
    assert isinstance(task, Teachable)  # noqa: S101 - checked by open_lesson
    environment = task.open(instance)
    observation = environment.reset()
    turns: list[Turn] = []
    taught: list[bool] = []
    offered: set[str] = set()
    done = False
    try:
        while not done and len(turns) < task.step_cap:
            right = expert_thought(task, expert, turns, observation), expert.act(turns, observation)
            thought, action = right
            offered.update(observation.admissible)
            if len(turns) < len(student):
                turn = student[len(turns)]
                text, thought, action = turn.text, turn.thought, turn.action
            else:
                if mistaken is not None:
                    thought, action = mistaken.draw() or right
                if rng.random() < slips:
                    action = mistaken_action(observation, offered, rng) or action
                text = taught_reply(task, thought, action)
            turns.append(Turn(observation, text, action, thought))
            taught.append((thought, action) == right)
            observation, _, done = environment.step(action)
    finally:
        environment.close()
    return Demonstration(instance, tuple(turns), tuple(taught), observation) if done else None


def _until_departure(episode: Episode, expert: Expert, rng: random.Random) -> list[Turn]:
    """The player's turns up to a point soon after it left the expert's path; none if it never left it.

    In a won game the first departure is taken; in a lost one any departure, drawn at random, since the one that lost
    the game may come late. Departures at the same observation, as of a player that repeats itself, count as one.
    """
    turns = episode.turns
    departures: dict[str, int] = {}
    for index, turn in enumerate(turns):
        if turn.action != expert.act(turns[:index], turn.observation):
            departures.setdefault(turn.observation.text, index)
    if not departures:
        return []
    found = list(departures.values())
    left = found[0] if episode.success else rng.choice(found)
    return list(turns[: rng.randint(left + 1, min(left + _FOLLOWED, len(turns)))])


_FOLLOWED = 6
"""Most steps that a player is followed after a departure; lost players soon repeat themselves."""
