"""Ways to cheat in an entry, and the check that must catch each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.harness.verify.editing import Entry, named_anew


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

CHEATS: list[tuple[str, Callable[[Entry], None], str]] = [
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
]
"""Router of the entry, what is done to it, and the check that says so."""
