"""Grading with lm-eval's filters and metrics, and with math-verify for mathematical answers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mixroute import MixrouteError
from tasks.reasoning.question import Verdict

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

MATH_VERIFY = "math_verify"
"""Metric of equivalence by the package math-verify: some lm-eval tasks have it, and we add it to all others."""


def math_verified(target: str, answer: str) -> float:
    """1.0 if the last expression in ``answer`` is equivalent to that in ``target``, else 0.0.

    Args:
        target: The right answer, or a worked solution that ends with it; in GSM8K's form it follows ``####``.
        answer: Text that the model wrote.
    """
    from math_verify import parse, verify

    gold = target.rpartition("####")[2].strip()
    # Bare LaTeX would be read as text, of which the last number counts.
    right = parse(gold) if "$" in gold or "\\boxed" in gold else parse(f"\\boxed{{{gold}}}") or parse(gold)
    return float(verify(right, parse(answer)))


class Grader:
    """Grades answers to one lm-eval task.

    Args:
        task: The task, opened.
        metric: Which metric is the score. Default: ``math_verify`` where the task computes it, else its first.
        filter_name: Which of the task's filters extracts the answer; default its first.

    Raises:
        MixrouteError: the task has no such metric or filter.
    """

    def __init__(self, task: ConfigurableTask, metric: str | None, filter_name: str | None) -> None:
        self._task = task
        own = [str(getattr(name, "__name__", name)) for name in task.higher_is_better()]
        filters = [ensemble.name for ensemble in task._filters]  # lm-eval's only way to them
        self.metric = metric or (MATH_VERIFY if MATH_VERIFY in own else own[0])
        self.filter = filter_name or filters[0]
        self._extra = self.metric == MATH_VERIFY and MATH_VERIFY not in own
        name = task.config.task
        if self.metric not in own and not self._extra:
            raise MixrouteError(f"{name} has no metric '{self.metric}': use one of {', '.join({*own, MATH_VERIFY})}")
        if self.filter not in filters:
            raise MixrouteError(f"{name} has no filter '{self.filter}': use one of {', '.join(filters)}")
        if task.higher_is_better().get(self.metric) is False:
            raise MixrouteError(f"metric '{self.metric}' of {name} is better when lower: choose another with 'metric'")

    def describe(self) -> dict[str, str]:
        """JSON-ready description of the grader."""
        packages = {"lm-eval": version("lm-eval")}
        if self.metric == MATH_VERIFY:
            packages["math-verify"] = version("math-verify")
        by = "math-verify on the whole answer" if self._extra else f"lm-eval's, after filter {self.filter}"
        return {"metric": self.metric, "by": by, **packages}

    def grade(self, doc: dict[str, Any], answer: str) -> Verdict:
        """The score of ``answer``; the verdict's text holds every metric under every filter."""
        from lm_eval.api.instance import Instance

        request = Instance("generate_until", doc, (answer,), 0, (self._task.config.task, 0, 1), [answer])
        scores: dict[str, float] = {}
        for ensemble in self._task._filters:
            ensemble.apply([request])
            results = self._task.process_results(doc, [request.filtered_resps[ensemble.name]])
            scores |= {f"{name}[{ensemble.name}]": float(value) for name, value in results.items()}
        target = str(self._task.doc_to_target(doc))
        key = f"{self.metric}[{self.filter}]"
        if self._extra:
            key = MATH_VERIFY
            scores[key] = math_verified(target, answer)
        scored = ", ".join(f"{name} {value:g}" for name, value in scores.items())
        return Verdict(scores[key], f"{scored}\ntarget: {target}")
