"""Functions that the YAML files in this folder name; lm-eval imports them from here."""

from __future__ import annotations

from typing import Any

from tasks.reasoning.grading import math_verified


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the answer is equivalent to the document's; lm-eval's signature."""
    return {"math_verify": math_verified(str(doc["target"]), results[0])}


def first_final_answer(dataset: Any) -> Any:  # noqa: ANN401 - a data set of the package datasets
    """OlympiadBench's documents with their one final answer under ``target``."""
    return dataset.map(lambda doc: {"target": doc["final_answer"][0]})


def plain_answer(dataset: Any) -> Any:  # noqa: ANN401 - as above
    """Documents with their ``answer`` under ``target``."""
    return dataset.map(lambda doc: {"target": doc["answer"]})
