"""Whole forged entries: each is as consistent as its author could make it, and claims what was not played.

A forgery edits a copy of an honest published entry in place. Names and hashes are set right afterwards.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.engine.identity import router_content
from harness.traces.contamination import write_seen
from harness.verify.labels import LABELS
from mixroute import Trained, open_router
from tests.harness.verify.cheats import ENDS, ROUTING, TOKENS, WHOLE
from tests.harness.verify.editing import Entry

FILES = "the files are whole and can be read"
FOLDER = "its folder holds the files of an entry and nothing else"
NAMED = "it names nothing but what is shipped or installed"
SUITE = "it was played as a shipped suite asks, with the published models"
ROW = "label, curve and seeds are those of the suite"
REFERENCE = "reference rows are those of the lock file"
FITTED = "thresholds follow from the calibration run"
ERRORS = "at most 2% of the episodes ended in an error"
SECONDS = "measured seconds are as long as the published ones of the machine"
SAME = "the same question has the same answer in all entries"
COPY = "it is no copy of another entry"
TRAINED = "nothing was trained on what is reported"


@dataclass(frozen=True)
class Forgery:
    """What is done to the entry of a router, and the check that must fail."""

    router: str
    edit: Callable[[Entry], None]
    caught: str
    spoil: Callable[[Path], None] | None = None
    """Done to the folder after the entry was written."""


def calls(entry: Entry) -> list[Entry]:
    return [call for episode in entry["episodes"] for step in episode["steps"] for call in step["calls"]]


def configure(**changes: object) -> Callable[[Entry], None]:
    def edit(entry: Entry) -> None:
        entry["run"]["config"].update(changes)
        entry["run"].update(
            {key: value for key, value in changes.items() if key in ("router", "pool", "split", "seed")}
        )

    return edit


def router_arguments(**changes: object) -> Callable[[Entry], None]:
    return lambda entry: entry["run"]["config"]["router_args"].update(changes)


def task_arguments(**changes: object) -> Callable[[Entry], None]:
    return lambda entry: entry["run"]["config"]["task_args"].update(changes)


def record(**changes: object) -> Callable[[Entry], None]:
    return lambda entry: entry["run"].update(changes)


def unchanged(entry: Entry) -> None:
    """Nothing: the folder alone is spoiled."""


def benchmark_in_yaml(entry: Entry) -> None:
    configure(task="reasoning", task_args={"benchmark": "benchmark.yaml"})(entry)


def no_model_in_the_last_step(entry: Entry) -> None:
    for episode in entry["episodes"]:
        episode.update(end="done", success=True, score=1.0)
        episode["steps"][-1].update(model="none", calls=[])
    for timing in entry["timings"]:
        timing["steps"][-1]["calls"] = []


def answers_of_high_as_those_of_low(entry: Entry) -> None:
    entry["run"]["config"].update(router="random", router_args={"p": 0.0})
    entry["run"].update(router="random", label="random(p=0.0)", role="random")
    for episode in entry["episodes"]:
        for step in episode["steps"]:
            step["model"] = "low"
    for call in calls(entry):
        call["model"] = "low"


def everything_cached(entry: Entry) -> None:
    for call in calls(entry):
        call["prompt_tokens"] += 1
        call["cached_tokens"] = call["prompt_tokens"] - 1


def no_stop_token(entry: Entry) -> None:
    for call in calls(entry):
        if call["finish"] == "stop":
            call["decoded_tokens"] = call["content_tokens"]
            for name in ("logprobs", "entropies", "margins"):
                call[name] = call[name][: call["content_tokens"]]


def half_of_the_tokens(entry: Entry) -> None:
    for call in calls(entry):
        kept = (call["content_tokens"] + 1) // 2
        end = call["decoded_tokens"] - call["content_tokens"]
        call.update(content_tokens=kept, decoded_tokens=kept + end)
        for name in ("logprobs", "entropies", "margins"):
            call[name] = call[name][: kept + end]


def confident(entry: Entry) -> None:
    """Statistics that no distribution has: a margin of one beside a probability of one half."""
    for call in calls(entry):
        call["logprobs"] = [-0.7] * call["decoded_tokens"]
        call["margins"] = [0.99] * call["decoded_tokens"]


def certain(entry: Entry) -> None:
    """A log-probability whose exponential overflows."""
    for call in calls(entry):
        call["logprobs"] = [-1e6] * call["decoded_tokens"]


def lost_to_an_error(entry: Entry) -> None:
    episode, timing = entry["episodes"][0], entry["timings"][0]
    episode.update(end="error", error="the server went away", success=False, score=0.0)
    episode["steps"], timing["steps"] = [], []


def other_seed(entry: Entry) -> None:
    configure(seed=1)(entry)
    for name in ("episodes", "timings"):
        for line in entry[name]:
            line["seed"] = 1


def fingerprint(entry: Entry) -> None:
    card = entry["run"]["models"]["low"]
    card["fingerprint"] = card["fingerprint"][:12] + "0" * (len(card["fingerprint"]) - 12)


def negative_bytes(entry: Entry) -> None:
    entry["run"]["models"]["low"]["weight_bytes"] *= -1


def small_model(entry: Entry) -> None:
    card = entry["run"]["models"]["low"]
    card["weight_bytes"], card["parameters"] = card["weight_bytes"] // 8, card["parameters"] // 8


def two_games(entry: Entry) -> None:
    entry["run"]["config"]["limit"] = 2
    entry["run"]["instances"] = entry["run"]["instances"][:2]
    for name in ("episodes", "timings"):
        entry[name] = [line for line in entry[name] if line["instance"] in entry["run"]["instances"]]


def on_training_games(entry: Entry) -> None:
    """Games of the checkpoint's own list, with the entry's list emptied (see ``spoil``)."""
    router = open_router("dmr", **entry["run"]["config"]["router_args"])
    assert isinstance(router, Trained)
    seen = sorted(name.split(" ", 1)[1] for name in router.trained_on() if name.startswith("alfworld-gen "))
    entry["run"]["instances"] = seen[: len(entry["episodes"])]
    for name in ("episodes", "timings"):
        for line, instance in zip(entry[name], seen, strict=False):
            line["instance"] = instance


def no_seconds(entry: Entry) -> None:
    for timing in entry["timings"]:
        for step in timing["steps"]:
            for call in step["calls"]:
                call.update(queue=0.0, prefill=0.0, decode=0.0, latency=0.0)


def invented_threshold(entry: Entry) -> None:
    entry["run"]["fitted"]["threshold"] *= 1.01


def extra_condition(entry: Entry) -> None:
    entry["run"]["protocol"]["hint"] = "none"


def hidden_states_read_once(entry: Entry) -> None:
    """A router whose decisions a trace cannot show, and which pays for them in the first step alone."""
    arguments = {"checkpoint": "alfworld-kl-sft-k20", "threshold": 0.5}
    entry["run"]["config"]["router_args"] = arguments
    entry["run"].update(label="hindsight", curve="", content=dict(router_content(open_router("kl-sft", **arguments))))
    for episode, timing in zip(entry["episodes"], entry["timings"], strict=True):
        read_the_prompt(episode["steps"][0], timing["steps"][0])


def read_the_prompt(step: Entry, timing: Entry) -> None:
    nothing: Entry = {"decoded_tokens": 0, "content_tokens": 0, "finish": "length", "text": ""}
    nothing |= {"logprobs": [], "entropies": [], "margins": []}
    step["calls"].insert(0, {**step["calls"][0], **nothing})
    timing["calls"].insert(0, dict(timing["calls"][0]))


def stop_tokens_unpaid(entry: Entry) -> None:
    """The same router, which pays for its reading, but not for the ends of answers."""
    hidden_states_read_once(entry)
    for episode, timing in zip(entry["episodes"], entry["timings"], strict=True):
        for step, times in zip(episode["steps"][1:], timing["steps"][1:], strict=True):
            read_the_prompt(step, times)
    no_stop_token(entry)
    for call in calls(entry):
        call["finish"] = "length"


def another_tokenizer(entry: Entry) -> None:
    """Cards that name other weights, as if the second call of a step could not be compared; and another answer."""
    router_arguments(threshold=0.4993)(entry)
    entry["run"].update(label="other weights", curve="")
    entry["run"]["models"]["high"]["details"]["weights"] = "mine"
    for episode in entry["episodes"]:
        for call in (call for step in episode["steps"] for call in step["calls"][1:]):
            call["entropies"] = [entropy + 0.01 for entropy in call["entropies"]]


def many_answers(entry: Entry) -> None:
    """One question that is asked again and again: comparing all pairs of answers would take hours."""
    step, timing = entry["episodes"][0]["steps"][0], entry["timings"][0]["steps"][0]
    call = step["calls"][0]
    entropies = [[1 + number / 1000] * call["decoded_tokens"] for number in range(10_000)]
    step["calls"] = [{**call, "entropies": values} for values in entropies]
    timing["calls"] = timing["calls"][:1] * len(entropies)


def label_of_a_rival(entry: Entry) -> None:
    router_arguments(threshold=0.4998)(entry)
    entry["run"].update(label="random, p=0.3", curve="")


def other_threshold(entry: Entry) -> None:
    router_arguments(threshold=0.4999)(entry)
    entry["run"].update(label="mine", curve="")


def in_run_json(change: Callable[[Entry], None]) -> Callable[[Path], None]:
    """A change of ``run.json`` that its reader does not expect."""

    def spoil(folder: Path) -> None:
        content = json.loads((folder / "run.json").read_text())
        change(content)
        (folder / "run.json").write_text(json.dumps(content))

    return spoil


def not_utf8(folder: Path) -> None:
    path = folder / "run.json"
    path.write_bytes(path.read_bytes().replace(b"random", b"\xff\xfe"))


def pipe(folder: Path) -> None:
    (folder / "timings.jsonl.xz").unlink()
    os.mkfifo(folder / "timings.jsonl.xz")


def endless_device(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").symlink_to("/dev/zero")


def long_line_many_times(folder: Path) -> None:
    """An episode that refers 2,000 times to a completion of 4 MB."""
    table = b'{"logprobs":[' + b",".join([b"0.0"] * 1_000_000) + b'],"entropies":[],"margins":[]}\n'
    (folder / "completions.jsonl.xz").write_bytes(lzma.compress(table))
    own = {"entry": folder.name, "sha256": hashlib.sha256(table).hexdigest()}
    (folder / "pack.json").write_text(json.dumps({"schema": 2, "tables": [own], "trained_on": own}))
    line = b'{"calls":[' + b",".join([b'{"completion":[0,0]}'] * 2000) + b"]}\n"
    (folder / "episodes.jsonl.xz").write_bytes(lzma.compress(line))


def compressed_bomb(folder: Path) -> None:
    compressor = lzma.LZMACompressor(preset=0)
    zeros = bytes(1 << 24)
    parts = [compressor.compress(zeros) for _ in range(80)]
    (folder / "episodes.jsonl.xz").write_bytes(b"".join([*parts, compressor.flush()]))


def deep_json(folder: Path) -> None:
    path = folder / "run.json"
    content = json.loads(path.read_text())
    nested = '{"a":' * 100_000 + "1" + "}" * 100_000
    path.write_text(json.dumps(content)[:-1] + f', "deep": {nested}}}')


def huge_number(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', f'"seed": {"9" * 400}'))


def extra_file(folder: Path) -> None:
    (folder / "conftest.py").write_text("raise SystemExit\n")


def link(folder: Path) -> None:
    (folder / "trained_on.txt.xz").unlink()
    (folder / "trained_on.txt.xz").symlink_to("/etc/hostname")


def empty_list(folder: Path) -> None:
    write_seen(folder, [])


FORGERIES: dict[str, Forgery] = {
    # 1: code, files and bombs
    "router from a file": Forgery("random", configure(router="routers.py:Evil"), NAMED),
    "task from a file": Forgery("random", configure(task="tasks.py:Evil"), NAMED),
    "benchmark in YAML": Forgery("random", benchmark_in_yaml, NAMED),
    "pool from a file": Forgery("random", configure(pool="pool.yaml"), NAMED),
    "path among the arguments": Forgery("dmr", router_arguments(checkpoint="../../weights"), NAMED),
    "path among fitted arguments": Forgery("perplexity", record(fitted={"checkpoint": "/home/me/weights"}), NAMED),
    "compressed bomb": Forgery("random", unchanged, FILES, compressed_bomb),
    "deep JSON": Forgery("random", unchanged, FILES, deep_json),
    "number of 400 digits": Forgery("random", unchanged, FILES, huge_number),
    "extra file": Forgery("random", unchanged, FOLDER, extra_file),
    "link": Forgery("random", unchanged, FOLDER, link),
    "pipe": Forgery("random", unchanged, FILES, pipe),
    "endless device": Forgery("random", unchanged, FILES, endless_device),
    "long line many times": Forgery("random", unchanged, FILES, long_line_many_times),
    "not UTF-8": Forgery("random", unchanged, FILES, not_utf8),
    "no arguments": Forgery("random", unchanged, FILES, in_run_json(lambda run: run["config"].update(task_args=None))),
    "no details": Forgery("random", unchanged, FILES, in_run_json(lambda run: run["models"]["low"].update(details=5))),
    "one GPU": Forgery(
        "random", unchanged, COPY, in_run_json(lambda run: run["provenance"]["hardware"].update(gpus=1))
    ),
    "many answers": Forgery("random", many_answers, SAME),
    # 2 and 3: steps that no model took, answers of another model
    "no model in the last step": Forgery("random", no_model_in_the_last_step, ENDS),
    "answers of high as low's": Forgery("always-high", answers_of_high_as_those_of_low, SAME),
    # 4: routing silenced
    "refused argument": Forgery("random", router_arguments(p=7.0), ROUTING),
    "unknown argument": Forgery("random", router_arguments(speed=2), ROUTING),
    "unknown checkpoint": Forgery("dmr", router_arguments(checkpoint="mine"), ROUTING),
    "unknown router": Forgery("random", configure(router="my-own"), NAMED),
    "impossible statistics": Forgery("perplexity", certain, WHOLE),
    "role": Forgery("dmr", record(role="oracle"), ROUTING),
    "hidden states read once": Forgery("kl-sft", hidden_states_read_once, ROUTING),
    "stop tokens unpaid": Forgery("kl-sft", stop_tokens_unpaid, ROUTING),
    "another tokenizer": Forgery("dmr", another_tokenizer, SAME),
    # 5 and 6: tasks that nobody looks at
    "no-break space": Forgery("random", configure(task="alfworld-gen\u00a0"), NAMED),
    "data elsewhere": Forgery("random", task_arguments(data="nowhere"), NAMED),
    "official task": Forgery("random", configure(task="alfworld", split="valid_unseen"), SUITE),
    # 8: the ledger
    "everything cached": Forgery("random", everything_cached, ROUTING),
    "no stop token": Forgery("random", no_stop_token, WHOLE),
    "half of the tokens": Forgery("random", half_of_the_tokens, TOKENS),
    "no distribution has these": Forgery("random", confident, WHOLE),
    # 9: errors
    "lost to an error": Forgery("random", lost_to_an_error, ERRORS),
    # 10: reference rows and seeds
    "own always-high": Forgery("always-high", other_seed, REFERENCE),
    "seed of a rival": Forgery("dmr", other_seed, ROW),
    # 11: groups of one's own
    "fingerprint after 12 digits": Forgery("random", fingerprint, SUITE),
    "negative bytes": Forgery("random", negative_bytes, FILES),
    "smaller model": Forgery("random", small_model, SUITE),
    "two games": Forgery("random", two_games, SUITE),
    "temperature": Forgery("random", configure(temperature=0.5), SUITE),
    "condition of one's own": Forgery("random", extra_condition, SUITE),
    # 12: trained on test
    "trained on it": Forgery("dmr", on_training_games, TRAINED, empty_list),
    # 13: seconds
    "no seconds": Forgery("random", no_seconds, SECONDS),
    # 14: copies, thresholds, curves
    "copy": Forgery("dmr", record(label="dmr, ours"), COPY),
    "a copy that is read first": Forgery("dmr", other_threshold, COPY),
    "label of a rival": Forgery("dmr", label_of_a_rival, LABELS),
    "invented threshold": Forgery("perplexity", invented_threshold, FITTED),
    "curve of a rival": Forgery("dmr", record(curve="kl-sft"), ROW),
    "label of one's own": Forgery("dmr", record(label="always-high "), ROW),
}
