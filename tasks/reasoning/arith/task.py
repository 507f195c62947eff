"""The task ``arith-gen``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from mixroute import Environment, Instance, Message, MixrouteError, Observation, Prompt, Turn
from tasks.reasoning.arith.problem import VERSION, Problem, problems_of, shots
from tasks.reasoning.arith.stories import LEVELS
from tasks.reasoning.question import Question, Verdict

_MARKED = re.compile(r"####[ \t]*\$?(-?\d[\d,]*)(?:\.0+)?(?![\d.]*\d)")
"""The marked answer: an integer, with optional commas between thousands and an optional dollar sign."""

SHOTS = 4
"""Examples in the prompt ``few-shot``."""


@dataclass(frozen=True, slots=True)
class _Wording:
    """Texts around a question and its answer. A question is no episode, and its answer is its reasoning: scaffolds,
    which tell thoughts from actions, do not fit it. All fields are hashed under these names.
    """

    format: Literal["chat", "plain"]
    instruction: str
    after_observation: str
    after_completion: str
    before_question: str = "Question: "
    admissible: str = ""

    def question(self, text: str) -> str:
        """A question as it is shown."""
        return self.before_question + text + self.after_observation

    def answer(self, text: str) -> str:
        """The text that a model writes as an answer."""
        return text if self.format == "chat" else f" {text}"


_PLAIN = _Wording(format="plain", instruction="", after_observation="\nAnswer:", after_completion="\n\n")

WORDINGS = {
    "compact": _PLAIN,
    "few-shot": _PLAIN,
    "chat": _Wording(
        format="chat",
        instruction=(
            "Solve the problem step by step, with one short line for each step. End with a line that holds four number "
            "signs and the answer, a whole number, as in:\n#### 42"
        ),
        after_observation="",
        after_completion="",
        before_question="",
    ),
}


def marked_answer(text: str) -> int | None:
    """The integer after the first ``####``; None if there is none."""
    found = _MARKED.search(text)
    return int(found[1].replace(",", "")) if found else None


class Expert:
    """Writes the worked solution of a problem that it finds by its question."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._solutions = {problem.question: problem.solution for problem in problems}

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """See ``harness.contracts.Expert``."""
        return self._solutions[(turns[0].observation if turns else observation).text]


class ArithGenTask:
    """Generated arithmetic word problems with 2, 4 or 6 operations and an integer answer.

    Args:
        split: ``train`` (as many as wanted), ``dev`` (240 problems), ``test`` or a fresh one (480 each).
        problems: How many; default all of ``dev`` or ``test``, and 2,400 of ``train``.
        seed: Number of the first problem; for ``train`` only.
        levels: Takes only these of them: ``easy``, ``medium``, ``hard``.
        prompt: ``compact`` (plain text), ``few-shot`` (the same after four examples) or ``chat``.
        max_tokens: Most tokens of an answer.

    Raises:
        MixrouteError: an argument that is none of these.
    """

    name: str = "arith-gen"
    fresh_games_like: ClassVar[str] = "test"
    blocking: bool = False
    step_cap: int = 1

    def __init__(
        self,
        split: str = "test",
        problems: int | None = None,
        seed: int = 0,
        levels: list[str] | None = None,
        prompt: str = "compact",
        max_tokens: int = 256,
    ) -> None:
        wrong = sorted(set(levels or ()) - set(LEVELS))
        if wrong or levels == []:
            raise MixrouteError(f"arith-gen: levels = {levels}: use some of {', '.join(LEVELS)}")
        if prompt not in WORDINGS:
            raise MixrouteError(f"unknown arith-gen prompt '{prompt}': use one of {', '.join(WORDINGS)}")
        if max_tokens < 1:
            raise MixrouteError(f"arith-gen: max_tokens = {max_tokens}: an answer needs at least one")
        self.split = split
        self.max_tokens = max_tokens
        self._prompt_name, self._wording = prompt, WORDINGS[prompt]
        self.stop: tuple[str, ...] = ("\n\n",) if self._wording.format == "plain" else ()
        self._problems = [
            one for one in problems_of(split, problems, seed) if one.kind.rpartition("-")[2] in (levels or LEVELS)
        ]

    @cached_property
    def _opening(self) -> str:
        """Instruction and examples."""
        shown = shots(SHOTS) if self._prompt_name == "few-shot" else ()
        wording = self._wording
        return wording.instruction + "".join(
            wording.question(one.question) + wording.answer(one.solution) + "\n\n" for one in shown
        )

    def instances(self) -> Sequence[Instance]:
        """The problems, sorted by number."""
        return [Instance(one.id, one.kind, one) for one in self._problems]

    def open(self, instance: Instance) -> Environment:
        """A new environment for a problem of ``instances()``."""
        problem: Problem = instance.data
        return Question(problem.question, lambda answer: _grade(problem, answer))

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``."""
        wording = self._wording
        chat = wording.format == "chat"
        messages = [Message("system", self._opening)] if chat else []
        opening = "" if chat else self._opening
        for turn in turns:
            messages.append(Message("user", opening + wording.question(turn.observation.text)))
            messages.append(Message("assistant", turn.text + wording.after_completion))
            opening = ""
        messages.append(Message("user", opening + wording.question(observation.text)))
        return Prompt(tuple(messages), wording.format)

    def parse_action(self, text: str) -> str:
        """The complete answer, reasoning included, stripped."""
        return text.strip()

    def completion_text(self, action: str) -> str:
        """The text that a model writes to give this answer."""
        return self._wording.answer(action)

    def expert(self) -> Expert:
        """An expert that knows the worked solutions."""
        return Expert(self._problems)

    def is_success(self, score: float) -> bool:
        """Whether the answer is right."""
        return score == 1

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 of questions, solutions and answers, in order."""
        digest = hashlib.sha256()
        for one in self._problems:
            digest.update(json.dumps(asdict(one), sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def protocol(self) -> Mapping[str, Any]:
        """Settings and data that may change a score."""
        parts = {**asdict(self._wording), "opening": self._opening}
        return {
            "task": self.name,
            "split": self.split,
            "version": VERSION,
            "problems": len(self._problems),
            "data": self.data_fingerprint,
            "prompt": self._prompt_name,
            "prompt_hash": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
            "stop": list(self.stop),
            "max_tokens": self.max_tokens,
            "grader": f"whole number equal to the first match of {_MARKED.pattern}",
        }


def _grade(problem: Problem, answer: str) -> Verdict:
    found = marked_answer(answer)
    if found == problem.answer:
        return Verdict(1.0, f"Right: {problem.answer}.")
    return Verdict(0.0, f"Wrong: {'no marked answer' if found is None else found}; it is {problem.answer}.")
