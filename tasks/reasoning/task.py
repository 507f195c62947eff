"""The task ``reasoning``: any generation task of lm-eval, as episodes of one step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.integrations.lm_eval_prompts import chat_as_text, generation_of, prompt_of
from mixroute import Environment, EpisodeError, Instance, Message, MixrouteError, Observation, Prompt, Turn
from tasks.reasoning.benchmark import FEWSHOT_SEED, docs_of, open_benchmark
from tasks.reasoning.grading import Grader
from tasks.reasoning.question import Question

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as lm-eval renders it."""

    id: str
    kind: str
    doc: dict[str, Any]
    question: str
    context: str
    """The complete prompt, examples included."""
    target: str
    grader: Grader


class Expert:
    """Answers with the data set's own solution."""

    def __init__(self, asked: Mapping[str, _Asked]) -> None:
        self._asked = asked

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """See ``harness.contracts.Expert``."""
        return self._asked[(turns[0].observation if turns else observation).text].target.strip()


class ReasoningTask:
    """A generation task of lm-eval: its YAML, prompts, filters and metrics.

    Args:
        benchmark: Name of a task or group of lm-eval (``gsm8k``, ``minerva_math``), ``olympiadbench``, or a YAML file
            in lm-eval's format.
        data: Folder of local data; see docs/reasoning.md. Default: ``$REASONING_DATA``, else the hub.
        split: ``train``, ``validation`` or ``test``.
        few_shot: How many examples the prompt holds; default the task's own number.
        chat: Whether the model's chat template is applied, examples as turns.
        system: System message.
        metric: Which metric is the score; ``math_verify`` can be asked of any task. Default: ``math_verify`` where the
            task computes it, else its first metric.
        filter: Which of the task's filters extracts the answer; default its first.
        max_tokens: Most tokens of an answer; default the task's own, else 256.
        allow_unsafe_code: Whether tasks that run what models write may be opened.

    Raises:
        MixrouteError: lm-eval is not installed, or an argument or the data is wrong.
    """

    blocking: bool
    step_cap: int = 1

    def __init__(
        self,
        benchmark: str,
        data: str | Path | None = None,
        split: str = "test",
        few_shot: int | None = None,
        chat: bool = False,
        system: str | None = None,
        metric: str | None = None,
        filter: str | None = None,
        max_tokens: int | None = None,
        allow_unsafe_code: bool = False,
    ) -> None:
        for key, value, least in (("few_shot", few_shot, 0), ("max_tokens", max_tokens, 1)):
            if value is not None and value < least:
                raise MixrouteError(f"reasoning: {key} = {value}: use {least} or more")
        tasks = open_benchmark(benchmark, data, split, few_shot, unsafe_code=allow_unsafe_code)
        self.name = Path(benchmark).stem
        self.split = split
        # math-verify sets alarms, which only the main thread may; running code takes long.
        self.blocking = any(bool(task.config.unsafe_code) for task in tasks)
        self.stop, declared = _one_way_to_generate(tasks)
        self.max_tokens = max_tokens or declared
        self._chat, self._system = chat, system
        self._tasks = tasks
        self._graders = [Grader(task, metric, filter) for task in tasks]
        self._asked = [
            one for task, grader in zip(tasks, self._graders, strict=True) for one in self._ask(task, grader)
        ]
        self._by_question = {one.question: one for one in reversed(self._asked)}

    def _ask(self, task: ConfigurableTask, grader: Grader) -> list[_Asked]:
        docs_of(task, self.split)
        template: Callable[..., str] | None = chat_as_text if self._chat else None
        with redirect_stderr(StringIO()):  # where lm-eval draws its progress
            # All of them, in order: the examples of a question depend on how many were drawn before.
            task.build_all_requests(
                system_instruction=self._system,
                apply_chat_template=self._chat,
                fewshot_as_multiturn=self._chat,
                chat_template=template,
            )
        leaf = str(task.config.task)
        return [
            _Asked(
                f"{self.split}/{leaf}-{one.doc_id:07d}",
                leaf,
                one.doc,
                str(task.doc_to_text(one.doc)),
                str(one.args[0]),
                str(task.doc_to_target(one.doc)),
                grader,
            )
            for one in task.instances
        ]

    def instances(self) -> Sequence[Instance]:
        """The questions of the split, sorted by id."""
        return [Instance(one.id, one.kind, one) for one in self._asked]

    def open(self, instance: Instance) -> Environment:
        """A new environment for a question of ``instances()``."""
        one: _Asked = instance.data
        return Question(one.question, lambda answer: one.grader.grade(one.doc, answer))

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """lm-eval's prompt for the question, examples included.

        Raises:
            EpisodeError: the observation is no question of this task.
        """
        asked = (turns[0].observation if turns else observation).text
        if asked not in self._by_question:
            raise EpisodeError(f"{self.name} has no question {asked[:80]!r}")
        prompt = prompt_of(self._by_question[asked].context)
        if not turns:
            return prompt
        end = "" if prompt.format == "chat" else self._delimiter
        after = (Message("assistant", turns[0].text + end), Message("user", observation.text))
        return Prompt((*prompt.messages, *after), prompt.format)

    @property
    def _delimiter(self) -> str:
        return str(self._tasks[0].config.fewshot_delimiter)

    def parse_action(self, text: str) -> str:
        """The complete answer, stripped; filters are part of grading."""
        return text.strip()

    def completion_text(self, action: str) -> str:
        """The text that a model writes to give this answer."""
        return action if self._chat else f"{self._tasks[0].config.target_delimiter}{action}"

    def expert(self) -> Expert:
        """An expert that knows the data set's solutions; some data sets have only final answers."""
        return Expert(self._by_question)

    def is_success(self, score: float) -> bool:
        """Whether the metric has its full value."""
        return score >= 1

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 of questions, targets and documents, in order."""
        return _sha256([one.id, one.doc, one.target] for one in self._asked)

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score."""
        return {
            "task": self.name,
            "split": self.split,
            "questions": len(self._asked),
            "data": self.data_fingerprint,
            "versions": {str(task.config.task): str(task.VERSION) for task in self._tasks},
            "few_shot": self._tasks[0].config.num_fewshot or 0,
            "few_shot_seed": FEWSHOT_SEED,
            "prompt": "chat" if self._chat else "plain",
            "prompt_hash": _sha256([one.context] for one in self._asked),
            "stop": list(self.stop),
            "max_tokens": self.max_tokens,
            "grader": self._graders[0].describe(),
        }


def _sha256(rows: Any) -> str:  # noqa: ANN401 - rows of anything that JSON can hold
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def _one_way_to_generate(tasks: Sequence[ConfigurableTask]) -> tuple[tuple[str, ...], int]:
    """Stop strings and longest answer in tokens, which all members of a group must share."""
    asked = [generation_of(task.config.generation_kwargs or {}) for task in tasks]
    found = {(one.stop, one.max_tokens) for one in asked}
    if len(found) > 1:
        raise MixrouteError(f"{tasks[0].config.task} and its group differ in how they end answers: run them one by one")
    return found.pop()
