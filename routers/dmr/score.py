"""Routers on labelled steps: what they would send to high, scored in seconds and without a model.

A score is no result: the states are those of a random router's episodes, and its own choices would lead elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sklearn.metrics import roc_auc_score

from harness.contracts import Router, Task
from harness.data import Completion
from harness.engine.asked import prompts_of, step_of
from harness.engine.loop import run_to_end
from harness.records import Episode, StepRecord
from harness.sharing import SharedCache, sharing_of
from harness.traces.recording import recorded_completion
from harness.traces.store import read_meta
from mixroute import MixrouteError, NotRecorded
from routers.dmr.table import labelled, task_of


@dataclass(frozen=True, slots=True)
class RouterScore:
    """A router on the labelled steps of runs."""

    steps: int
    high_share: float
    """Share of the steps that it sends to high, from 0 to 1."""
    apart: int
    """Steps at which the models' actions differ."""
    found: float
    """Share of these that it sends to high; a router that draws at random sends ``high_share`` of them."""
    whole: int
    """Episodes in which it sends all of these to high."""
    episodes: int
    auc: dict[str, float]
    """Of each figure that the router logs, the area under the ROC curve for differing actions."""


@dataclass(slots=True)
class _Decisions:
    high: list[float] = field(default_factory=list)
    differ: list[bool] = field(default_factory=list)
    logged: dict[str, list[tuple[float, bool]]] = field(default_factory=lambda: defaultdict(list))


def score_router(router: Router, runs: Sequence[Path]) -> RouterScore:
    """Let a router decide each labelled step, with the recorded answers in place of the models.

    Args:
        router: Decides by step; one that continues texts or reads replies asks what no label holds.
        runs: Run folders of ``mixroute label``.

    Raises:
        MixrouteError: the router asks for what was not recorded, such as hidden states, or a run cannot be read.
    """
    every, whole, episodes = _Decisions(), 0, 0
    for run in runs:
        meta = read_meta(run)
        task, sharing = task_of(meta), sharing_of(meta.config, str(run))
        for episode, labels in labelled(run):
            differ = [not label.agree for label in labels.steps]
            shares = run_to_end(_decide(router, episode, task, sharing, every, differ))
            episodes += 1
            whole += all(share == 1 for share, apart in zip(shares, differ, strict=True) if apart)
    apart = [share for share, differs in zip(every.high, every.differ, strict=True) if differs]
    auc = {
        name: float(roc_auc_score([differs for _, differs in pairs], [value for value, _ in pairs]))
        for name, pairs in every.logged.items()
        if len({differs for _, differs in pairs}) == 2 and len({value for value, _ in pairs}) > 1
    }
    steps = len(every.high)
    return RouterScore(
        steps=steps,
        high_share=sum(every.high) / max(1, steps),
        apart=len(apart),
        found=sum(apart) / max(1, len(apart)),
        whole=whole,
        episodes=episodes,
        auc=auc,
    )


async def _decide(
    router: Router,
    episode: Episode,
    task: Task,
    sharing: SharedCache | None,
    every: _Decisions,
    differ: Sequence[bool],
) -> list[float]:
    """The share of each step's answer that high would write."""
    turns, shares = episode.turns, []
    for number, (step, prompt) in enumerate(zip(episode.steps, prompts_of(episode, task), strict=True)):
        asked = step_of(episode, turns, number, prompt, task, ("high", "low"), _Recorded(step).ask, sharing)
        try:
            answer = await router.act(asked)
        except NotRecorded as error:
            raise MixrouteError(f"labels do not hold what the router asks for: {error}") from error
        shares.append(float(answer.model == "high"))
        for name, value in asked.scores.items():
            every.logged[name].append((value, differ[number]))
    every.high += shares
    every.differ += differ
    return shares


class _Recorded:
    """The answers of both models at a step, in place of the models.

    Args:
        step: A step of router ``both``, which asks each model once.
    """

    def __init__(self, step: StepRecord) -> None:
        self._step = step
        self._given: dict[str, int] = {}
        """How many calls of each model's answer have been given; a thought that was cut has its action in another."""

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """A recorded call to ``model``; an ``ask`` of ``LiveStep.of_episode``.

        Raises:
            NotRecorded: the router asks for anything but the model's plain answer.
        """
        calls = [call for call in self._step.calls if call.model == model]
        begun = changes.get("continue_from") or ""
        place = self._given.get(model, 0) if begun else 0
        before = "".join(call.forced + call.text for call in calls[:place])
        follows = place < len(calls) and begun == (before + calls[place].forced if place else "")
        if (
            changes.get("max_tokens") == 0
            or changes.get("stop") is not None
            or changes.get("temperature")
            or not follows
        ):
            raise NotRecorded(f"more than the answer of model '{model}' to the prompt")
        self._given[model] = place + 1
        return recorded_completion(calls[place])
