"""Honest entries pass, and every way to cheat that we know of is caught, each by the check that should."""

from __future__ import annotations

import copy
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.identity import run_hash, run_id
from harness.suite import RunConfig
from harness.trace import find_runs, read_meta
from harness.training.card import seen_as, write_seen
from harness.verify import verify_entries, verify_entry
from tests.command import mixroute

Entry = dict[str, Any]
"""``run`` (the content of run.json), ``episodes`` and ``timings`` (their lines)."""


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    suite = {
        "schema": 1,
        "name": "honest",
        "pool": str(tiny_pool),
        "tasks": [
            {"task": "alfworld-gen", "split": "test", "limit": 4, "args": {"step_cap": 5},
             "calibration": {"split": "dev", "limit": 2}}
        ],
        "routers": ["always-high", {"router": "random", "args": {"p": 0.5}}, {"router": "uncertainty"}],
    }  # fmt: skip
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", "suite.yaml", "--out", "runs", cwd=folder)
    mixroute("pack", "runs", "--out", "entries", cwd=folder)
    return folder / "entries"


def of_router(entries: Path, router: str) -> Path:
    return next(folder for folder in find_runs(entries) if read_meta(folder).router == router)


def read(folder: Path) -> Entry:
    entry: Entry = {"run": json.loads((folder / "run.json").read_text())}
    for name in ("episodes", "timings"):
        lines = lzma.decompress((folder / f"{name}.jsonl.xz").read_bytes()).splitlines()
        entry[name] = [json.loads(line) for line in lines]
    return entry


def write(entry: Entry, folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps(entry["run"]))
    for name in ("episodes", "timings"):
        body = "".join(json.dumps(line) + "\n" for line in entry[name])
        (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(body.encode()))


def named_anew(entry: Entry) -> None:
    """A careful cheat sets the hashes right."""
    run = entry["run"]
    config = RunConfig.model_validate(run["config"])
    prints = {name: card["fingerprint"] for name, card in run["models"].items()}
    run["hash"], run["group"] = run_hash(config, run["protocol"], prints, run["fitted"])
    run["id"] = run_id(config, run["pool"], run["label"], run["hash"])
    for episode in entry["episodes"]:
        episode["run"] = run["hash"]


def failed(folder: Path) -> set[str]:
    return {finding.check for finding in verify_entry(folder).findings if finding.status == "failed"}


def test_honest_entries_pass(entries: Path) -> None:
    for verdict in verify_entries(find_runs(entries)):
        assert verdict.status == "ok", verdict
    done = mixroute("verify", "entries", "--json", "verdicts.json", cwd=entries.parent)
    assert done.stdout.count("ok  ") == 3
    assert len(json.loads((entries.parent / "verdicts.json").read_text())) == 3


def other_doubt(entry: Entry) -> None:
    scores = entry["episodes"][0]["steps"][0]["scores"]
    scores["doubt"] = scores["doubt"] / 2


def first_call(entry: Entry) -> Any:
    return entry["episodes"][0]["steps"][0]["calls"][0]


def reward(entry: Entry) -> None:
    entry["episodes"][0]["steps"][-1]["reward"] = 1.0


def success(entry: Entry) -> None:
    for episode in entry["episodes"]:
        episode["success"], episode["score"] = True, 1.0


def all_of_it(entry: Entry) -> None:
    """Reward, score, success and end together."""
    episode = entry["episodes"][0]
    episode["steps"][-1]["reward"] = episode["score"] = 1.0
    episode["success"], episode["end"] = True, "done"


def drop_failures(entry: Entry) -> None:
    entry["episodes"].pop()


def drop_failures_and_say_so(entry: Entry) -> None:
    gone = entry["episodes"].pop()["instance"]
    entry["timings"] = [line for line in entry["timings"] if line["instance"] != gone]
    entry["run"]["instances"].remove(gone)


def pick_other_games(entry: Entry) -> None:
    for line in (entry["episodes"][0], entry["timings"][0]):
        entry["run"]["instances"] = sorted({*entry["run"]["instances"], "test/99999"} - {line["instance"]})
        line["instance"] = "test/99999"


def twice(entry: Entry) -> None:
    entry["episodes"].append(copy.deepcopy(entry["episodes"][0]))


def edit_action(entry: Entry) -> None:
    entry["episodes"][0]["steps"][0]["action"] = entry["episodes"][0]["steps"][0]["admissible"][0]


def edit_action_and_text(entry: Entry) -> None:
    step = entry["episodes"][0]["steps"][0]
    step["action"], step["valid"] = step["admissible"][0], True
    step["text"] = step["calls"][0]["text"] = " " + step["admissible"][0]


def claim_valid(entry: Entry) -> None:
    for episode in entry["episodes"]:
        for step in episode["steps"]:
            step["valid"] = not step["valid"]


def edit_observation(entry: Entry) -> None:
    entry["episodes"][0]["steps"][1]["observation"] = "You see the lamp at once."


def edit_admissible(entry: Entry) -> None:
    entry["episodes"][0]["steps"][0]["admissible"].append("win")


def edit_end(entry: Entry) -> None:
    entry["episodes"][0]["final_observation"] = "You win."


def stop_early(entry: Entry) -> None:
    for name in ("episodes", "timings"):
        entry[name][0]["steps"] = entry[name][0]["steps"][:2]


def play_longer(entry: Entry) -> None:
    for name in ("episodes", "timings"):
        entry[name][0]["steps"] = entry[name][0]["steps"] * 2


def fewer_prompt_tokens(entry: Entry) -> None:
    first_call(entry)["prompt_tokens"] -= 20


def more_cached_tokens(entry: Entry) -> None:
    call = entry["episodes"][0]["steps"][2]["calls"][0]
    call["cached_tokens"] = call["prompt_tokens"]


def fewer_decoded_tokens(entry: Entry) -> None:
    call = first_call(entry)
    call["decoded_tokens"] = call["content_tokens"] = 1
    for name in ("logprobs", "entropies", "margins"):
        call[name] = call[name][:1]


def hide_a_call(entry: Entry) -> None:
    for episode, timing in zip(entry["episodes"], entry["timings"], strict=True):
        for step, measured in zip(episode["steps"], timing["steps"], strict=True):
            if len(step["calls"]) > 1:
                del step["calls"][0], measured["calls"][0]


def cheaper_model(entry: Entry) -> None:
    for episode in entry["episodes"]:
        for step in episode["steps"]:
            step["model"] = "low"
            for call in step["calls"]:
                call["model"] = "low"


def smaller_weights(entry: Entry) -> None:
    entry["run"]["models"]["high"]["weight_bytes"] //= 10


def other_prompt(entry: Entry) -> None:
    entry["run"]["protocol"]["prompt_hash"] = "0" * 64
    named_anew(entry)


def show_admissible(entry: Entry) -> None:
    entry["run"]["config"]["task_args"]["show_admissible"] = True
    entry["run"]["protocol"]["show_admissible"] = True
    named_anew(entry)


def other_router(entry: Entry) -> None:
    entry["run"]["config"]["router"] = entry["run"]["router"] = entry["run"]["label"] = "every-k"
    entry["run"]["config"]["router_args"] = {}
    named_anew(entry)


def other_seed(entry: Entry) -> None:
    entry["run"]["config"]["seed"] = entry["run"]["seed"] = 7
    for name in ("episodes", "timings"):
        for line in entry[name]:
            line["seed"] = 7
    named_anew(entry)


def other_threshold(entry: Entry) -> None:
    entry["run"]["fitted"] = {"threshold": 1000.0}
    named_anew(entry)


def foreign_episode(entry: Entry) -> None:
    entry["episodes"][0]["run"] = "0" * 64


def shorter_cap(entry: Entry) -> None:
    entry["run"]["config"]["task_args"]["step_cap"] = entry["run"]["protocol"]["step_cap"] = 50
    named_anew(entry)


def no_times(entry: Entry) -> None:
    entry["timings"].pop()


def negative_times(entry: Entry) -> None:
    entry["timings"][0]["reset"] = -1.0


REPLAY, ACTIONS = "the environment answers the actions as the trace says", "actions are those of the texts"
ENDS, WHOLE = "success, score and end follow from the rewards", "calls are whole and within bounds"
TOKENS = "tokens in the ledger are those of the prompts and texts"
ROUTING, COMPLETE = "the router decides as the trace says", "every instance was played once, with the run's seed"
PROTOCOL, NAMES = "the protocol and the instances are those of the task", "name and hashes are those of the content"
TIMES, MODELS = "measured times fit the calls", "the model cards fit the models"


@pytest.mark.parametrize(
    ("router", "cheat", "caught"),
    [
        ("random", reward, REPLAY),
        ("random", success, ENDS),
        ("random", all_of_it, REPLAY),
        ("random", drop_failures, COMPLETE),
        ("random", drop_failures_and_say_so, PROTOCOL),
        ("random", pick_other_games, PROTOCOL),
        ("random", twice, COMPLETE),
        ("random", edit_action, ACTIONS),
        ("random", edit_action_and_text, REPLAY),
        ("random", claim_valid, ACTIONS),
        ("random", edit_observation, REPLAY),
        ("random", edit_admissible, REPLAY),
        ("random", edit_end, ENDS),
        ("random", stop_early, ENDS),
        ("random", play_longer, REPLAY),
        ("random", fewer_prompt_tokens, TOKENS),
        ("random", more_cached_tokens, TOKENS),
        ("random", fewer_decoded_tokens, TOKENS),
        ("uncertainty", hide_a_call, ROUTING),
        ("always-high", cheaper_model, ROUTING),
        ("random", smaller_weights, MODELS),
        ("random", other_prompt, PROTOCOL),
        ("random", show_admissible, PROTOCOL),
        ("random", other_router, ROUTING),
        ("random", other_seed, ROUTING),
        ("uncertainty", other_threshold, ROUTING),
        ("uncertainty", other_doubt, ROUTING),
        ("random", foreign_episode, COMPLETE),
        ("random", shorter_cap, ENDS),
        ("random", no_times, TIMES),
        ("random", negative_times, TIMES),
    ],
)
def test_a_cheat_is_caught(
    entries: Path, tmp_path: Path, router: str, cheat: Callable[[Entry], None], caught: str
) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, router), folder)
    entry = read(folder)
    cheat(entry)
    write(entry, folder)
    assert caught in failed(folder)


def test_smaller_weights_of_the_same_bits_show_when_the_models_are_loaded(entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, "random"), folder)
    entry = read(folder)
    card = entry["run"]["models"]["low"]
    card["weight_bytes"], card["parameters"] = card["weight_bytes"] // 2, card["parameters"] // 2
    card["bits"] = round(8 * card["weight_bytes"] / card["parameters"], 3)
    write(entry, folder)
    (models,) = [f for f in verify_entry(folder, load_models=True).findings if f.check == MODELS]
    assert models.status == "failed"


def test_an_entry_on_what_was_trained_on_is_caught(entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, "random"), folder)
    write_seen(folder, [seen_as("alfworld-gen", read_meta(folder).instances[0])])
    assert failed(folder) == {"nothing was trained on what is reported"}
    (folder / "trained_on.txt.xz").unlink()
    assert failed(folder) == {"the files are whole and can be read"}


def test_a_copy_under_another_name_is_caught(entries: Path, tmp_path: Path) -> None:
    honest = of_router(entries, "always-high")
    copied = tmp_path / "copy"
    shutil.copytree(honest, copied)
    entry = read(copied)
    entry["run"]["label"] = entry["run"]["router"] = entry["run"]["config"]["router"] = "my-new-router"
    named_anew(entry)
    write(entry, copied)
    first, second = verify_entries([honest, copied])
    assert first.status == "ok"
    assert "it is no copy of another entry" in {f.check for f in second.findings if f.status == "failed"}
    # Alone, its router cannot be checked, and that is said.
    assert verify_entry(copied).status == "unchecked"


def test_a_router_that_was_edited_since_is_judged_by_what_it_decides(entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, "uncertainty"), folder)
    entry = read(folder)
    entry["run"]["provenance"]["router"]["sha256"] = "0" * 64
    write(entry, folder)
    assert verify_entry(folder).status == "ok"
    other_threshold(entry)
    write(entry, folder)
    verdict = verify_entry(folder)
    assert verdict.status == "unchecked"
    (detail,) = [text for finding in verdict.findings for text in finding.details]
    assert "is not the one that was run, and decides otherwise" in detail


@pytest.mark.parametrize("kind", ["router", "task"])
def test_code_of_an_entry_is_not_run(entries: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, "random"), folder)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Evil: pass\n")
    entry = read(folder)
    entry["run"]["config"][kind] = f"{tmp_path}/evil.py:Evil"
    if kind == "router":
        entry["run"]["router"] = entry["run"]["config"]["router"]
    named_anew(entry)
    write(entry, folder)
    assert verify_entry(folder).status != "ok"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["run.json", "episodes.jsonl.xz", "timings.jsonl.xz", "trained_on.txt.xz"])
def test_damaged_files_are_findings(entries: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(of_router(entries, "random"), folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert failed(folder) == {"the files are whole and can be read"}


def test_the_command_fails_on_a_cheat_and_says_why(entries: Path, tmp_path: Path) -> None:
    shutil.copytree(entries, tmp_path / "entries")
    folder = of_router(tmp_path / "entries", "random")
    entry = read(folder)
    reward(entry)
    entry["episodes"][0]["steps"][0]["text"] = "\x1b[2J<script>alert(1)</script>[bold]"
    write(entry, folder)
    done = mixroute("verify", "entries", cwd=tmp_path, code=1)
    assert "failed: the environment answers the actions as the trace says" in done.stdout
    assert "\x1b[2J" not in done.stdout
