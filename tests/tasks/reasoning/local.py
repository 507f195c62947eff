"""A data set in lm-eval's format, small enough for a random model."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

QUESTIONS = {
    "train": [(f"What is {n} + 1?", f"{n} + 1 = {n + 1}\n#### {n + 1}") for n in range(2, 12)],
    "test": [(f"What is {n} + 1?", f"{n} + 1 = {n + 1}\n#### {n + 1}") for n in range(20, 25)],
}


def write_data(folder: Path, *, answer: str = "answer") -> Path:
    """``train.jsonl`` and ``test.jsonl`` with the fields of GSM8K."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in QUESTIONS.items():
        lines = [json.dumps({"question": question, answer: solution}) for question, solution in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_task(path: Path, data: Path, **changes: object) -> Path:
    """A task of lm-eval over ``write_data``'s files, two examples in its prompt."""
    config = {
        "task": path.stem,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: str(data / f"{split}.jsonl") for split in QUESTIONS}},
        "output_type": "generate_until",
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 8},
        "filter_list": [{"name": "letters", "filter": [
            {"function": "regex", "regex_pattern": "([a-zA-Z0-9])"}, {"function": "take_first"}]}],
        "num_fewshot": 2,
        "metadata": {"version": 1.0},
        **changes,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
