"""Replay of an entry's actions in the environment, without any model."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.contracts import Environment, Task, thought_of
from harness.data import Instance, Observation
from harness.engine.episode import NO_MODEL
from harness.records import Episode, StepRecord
from harness.verify.report import Check


class ReplayCheck:
    """Plays every episode's actions and compares all that the environment says.

    Args:
        task: The task that was played, newly opened.
        instances: Its instances, by id.
    """

    def __init__(self, task: Task, instances: Mapping[str, Instance]) -> None:
        self.replay = Check("the environment answers the actions as the trace says")
        self.actions = Check("actions are those of the texts")
        self.ends = Check("success, score and end follow from the rewards")
        self._task = task
        self._instances = instances

    def episode(self, episode: Episode) -> None:
        """Replay one episode."""
        instance = self._instances.get(episode.instance)
        if instance is None:
            self.replay.problem(episode.instance, "the task has no such instance")
            return
        self.replay.expect(episode.instance, "kind", episode.kind, instance.kind)
        environment = self._task.open(instance)
        try:
            self._steps(episode, environment)
        except Exception as error:  # a task may refuse an action that no play of it could have made
            self.replay.problem(episode.instance, f"the environment raises {type(error).__name__}: {error}")
        finally:
            environment.close()

    def _steps(self, episode: Episode, environment: Environment) -> None:
        shown, done, total = environment.reset(), False, 0.0
        last = len(episode.steps) - 1
        for number, step in enumerate(episode.steps):
            where = f"{episode.instance} step {number}"
            same = self._seen(where, Observation(step.observation, tuple(step.admissible)), shown)
            if done:
                self.replay.problem(where, "the episode was over before it")
            if step.model == NO_MODEL:
                self._without_action(where, step, ended=episode.end == "error" and number == last)
            if not same or done or step.model == NO_MODEL:
                break
            if (
                episode.end == "error"
                and number == last
                and (step.reward, episode.final_observation) == (0, shown.text)
            ):
                break  # the error came before the environment answered
            self.actions.expect(where, "action", step.action, self._task.parse_action(step.text))
            self.actions.expect(where, "thought", step.thought, thought_of(self._task, step.text))
            valid = step.action in shown.admissible if shown.admissible else None
            self.actions.expect(where, "valid", step.valid, valid)
            shown, reward, done = environment.step(step.action)
            if not math.isclose(step.reward, reward, abs_tol=1e-9):
                self.replay.problem(where, f"reward is {step.reward}, not {reward}")
            total += reward
        self._end(episode, shown, total, done=done)

    def _without_action(self, where: str, step: StepRecord, *, ended: bool) -> None:
        """Check a step of no model: only an error, which ends the episode, leaves a step without an action."""
        if not ended:
            self.replay.problem(where, "it has no answer, but is not the last step of an episode that an error ended")
        self.actions.expect(
            where, "text and action of a step without an answer", (step.text, step.action, step.thought), ("", "", "")
        )
        self.replay.expect(where, "reward of a step without an action", step.reward, 0.0)

    def _seen(self, where: str, written: Observation, shown: Observation) -> bool:
        text = self.replay.expect(where, "observation", written.text, shown.text)
        return self.replay.expect(where, "admissible", written.admissible, shown.admissible) and text

    def _end(self, episode: Episode, shown: Observation, total: float, *, done: bool) -> None:
        where, check = episode.instance, self.ends
        check.expect(where, "final observation", episode.final_observation, shown.text)
        if not math.isclose(episode.score, total, abs_tol=1e-9):
            check.problem(where, f"score is {episode.score}, not {total}")
        acted = sum(step.model != NO_MODEL for step in episode.steps)
        full = len(episode.steps) >= self._task.step_cap
        if episode.end == "error":
            if done or acted >= self._task.step_cap:
                check.problem(where, "an error is claimed after the episode was over")
            check.expect(where, "success of an episode that ended in an error", episode.success, False)
            if not episode.error:
                check.problem(where, "it ended in an error that is not named")
            return
        check.expect(where, "error", episode.error, None)
        check.expect(where, "end", episode.end, "done" if done else "step_cap")
        if not done and not full:
            check.problem(where, f"it stops after {len(episode.steps)} of {self._task.step_cap} steps")
        check.expect(where, "success", episode.success, bool(self._task.is_success(total)))
