"""The learned routers: same choice alone as among others, checkpoints that come back, instances that are kept apart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import fmean

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.traces.contamination import instance_key
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.entry import verify_entry
from mixroute import MixrouteError, Observation, Turn, open_router
from routers.dmr.checkpoint import DmrCard, load_checkpoint, save_checkpoint
from routers.dmr.features import FACTS, views
from routers.dmr.network import NetworkConfig, Reads, RouterNetwork, Trajectory
from routers.dmr.router import Decider
from tests.command import mixroute
from tests.examples import examples

WORDS = st.text(alphabet="abc 12.", min_size=0, max_size=12)
STEPS = st.lists(st.tuples(WORDS, WORDS, st.booleans()), max_size=40)


def trajectory(steps: list[tuple[str, str, bool]], shown: str = "end") -> Trajectory:
    turns = [Turn(Observation(text, ("a", "b")), action, action) for text, action, _ in steps]
    return Trajectory(views(turns, Observation(shown), ["high" if high else "low" for *_, high in steps]))


def network(seed: int = 0, steps: int = 64, reads: Reads = "text") -> RouterNetwork:
    torch.manual_seed(seed)
    return RouterNetwork(NetworkConfig(width=16, heads=2, steps=steps, reads=reads)).eval()


def checkpoint(folder: Path, seen: list[str], seed: int = 0, reads: Reads = "text") -> Path:
    own = network(seed, reads=reads)
    card = DmrCard(
        schema=1, name="test", stage="dmr", network=own.config, recipe={}, pool={}, facts={"lambda": 0.1}, provenance={}
    )
    save_checkpoint(folder, own, card, seen)
    return folder


@examples(0.25)
@given(st.lists(STEPS, min_size=1, max_size=40))
def test_a_choice_does_not_depend_on_what_is_decided_beside_it(several: list[list[tuple[str, str, bool]]]) -> None:
    trajectories = [trajectory(steps) for steps in several]

    async def together() -> list[float]:
        decider = Decider(network())
        return await asyncio.gather(*(decider.probability(one) for one in trajectories))

    async def alone(one: Trajectory) -> float:
        return await Decider(network()).probability(one)

    assert asyncio.run(together()) == [asyncio.run(alone(one)) for one in trajectories]  # to the last bit


@examples(0.3)
@given(STEPS, WORDS, WORDS)
def test_a_step_is_decided_by_what_came_before_it(steps: list[tuple[str, str, bool]], shown: str, later: str) -> None:
    now = trajectory(steps, shown)
    then = trajectory([*steps, (shown, later, True)], later)
    assert all(len(view.facts) == FACTS for view in then.steps)
    assert list(now.steps) == list(then.steps[: len(now.steps)])
    with torch.inference_mode():
        torch.testing.assert_close(network()([now])[0], network()([then])[0, : len(now.steps)])


def test_long_trajectories_are_read_from_their_end() -> None:
    long = trajectory([(f"a{i}", "b", False) for i in range(200)])

    async def decide() -> float:
        return await Decider(network(steps=8)).probability(long)

    assert 0 < asyncio.run(decide()) < 1


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "here", ["task a", "task b"])
    loaded, card, seen = load_checkpoint(folder)
    assert card.facts == {"lambda": 0.1}
    assert seen == {"task a", "task b"}
    for ours, theirs in zip(loaded.parameters(), network().parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no card", "has no card.json"),
        ("half the weights", "network.safetensors is damaged: its SHA-256"),
        ("other sizes", "network.safetensors cannot be read"),
        ("unknown key", "unknown key 'stages': did you mean 'stage'"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str, message: str) -> None:
    folder = checkpoint(tmp_path / "here", [])
    card, weights = folder / "card.json", folder / "network.safetensors"
    if damage == "no card":
        card.unlink()
    elif damage == "half the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif damage == "other sizes":
        card.write_text(card.read_text().replace('"width": 16', '"width": 32'))
    else:
        card.write_text(card.read_text().replace('"stage"', '"stages"'))
    with pytest.raises(MixrouteError, match=message):
        open_router("dmr", checkpoint=str(folder))


@pytest.mark.parametrize("place", ["the first", "the middle", "the last"])
def test_one_wrong_bit_of_a_network_is_found(tmp_path: Path, place: str) -> None:
    folder = checkpoint(tmp_path / "here", [])
    weights = folder / "network.safetensors"
    content = bytearray(weights.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[{"the first": header, "the middle": (header + len(content)) // 2, "the last": -1}[place]] ^= 1
    weights.write_bytes(content)
    with pytest.raises(MixrouteError, match=r"network.safetensors is damaged: its SHA-256 is .*get the ch"):
        open_router("dmr", checkpoint=str(folder))


def test_a_card_without_checksums_is_taken(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "here", [])
    card = json.loads((folder / "card.json").read_text())
    del card["files"]
    (folder / "card.json").write_text(json.dumps(card))
    assert open_router("dmr", checkpoint=str(folder))


def test_an_unknown_checkpoint_is_refused() -> None:
    with pytest.raises(MixrouteError, match=r"checkpoint 'nowhere': no network.safetensors there; shipped: "):
        open_router("kl-sft", checkpoint="nowhere")


def suite(folder: Path, pool: Path, arguments: dict[str, object]) -> Path:
    path = folder / "suite.yaml"
    task = {"task": "alfworld-gen", "split": "dev", "limit": 3, "args": {"step_cap": 3}}
    routers = [{"router": "dmr", "args": arguments}]
    path.write_text(
        yaml.safe_dump({"schema": 1, "name": "dmr", "pool": str(pool), "tasks": [task], "routers": routers})
    )
    return path


def test_it_plays_and_says_what_it_was_trained_on(tmp_path: Path, tiny_pool: Path) -> None:
    folder = checkpoint(tmp_path / "here", ["alfworld-gen train/00001"])
    mixroute("run", suite(tmp_path, tiny_pool, {"checkpoint": str(folder)}), cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs" / "dmr")
    episodes = list(read_episodes(run))
    assert len(episodes) == 3
    assert not any(episode.error for episode in episodes)
    mixroute("pack", "runs/dmr", "--out", "entries", cwd=tmp_path)
    mixroute("board", "entries", cwd=tmp_path)


def test_one_that_reads_drafts_asks_low_first_and_decides_again_from_the_trace(tmp_path: Path, tiny_pool: Path) -> None:
    folder = checkpoint(tmp_path / "here", [], reads="compared")
    path = suite(tmp_path, tiny_pool, {"checkpoint": str(folder)})
    mixroute("run", path, cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs" / "dmr")
    steps = [step for episode in read_episodes(run) for step in episode.steps]
    scores = sorted({step.scores["p_high"] for step in steps})
    middle = fmean(scores[len(scores) // 2 - 1 :][:2])  # between two, since six digits of each are in the trace
    mixroute("run", suite(tmp_path, tiny_pool, {"checkpoint": str(folder), "threshold": middle}), cwd=tmp_path)
    for run in find_runs(tmp_path / "runs" / "dmr"):
        threshold = read_meta(run).config["router_args"].get("threshold", 0.5)
        for step in (step for episode in read_episodes(run) for step in episode.steps):
            high = step.scores["p_high"] >= threshold
            assert [call.model for call in step.calls] == (["low", "high"] if high else ["low"])
            assert step.model == ("high" if high else "low")
        (decides,) = (
            one for one in verify_entry(run, own=True).results if one.check == "the router decides as the trace says"
        )
        assert decides.status == "ok", decides


def test_instances_that_it_was_trained_on_are_not_reported(tmp_path: Path, tiny_pool: Path) -> None:
    fair = checkpoint(tmp_path / "fair", [])
    mixroute("run", suite(tmp_path, tiny_pool, {"checkpoint": str(fair)}), cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs" / "dmr")
    instance = next(iter(read_episodes(run))).instance
    leaky = checkpoint(tmp_path / "leaky", [instance_key("alfworld-gen", instance)])
    refused = mixroute("run", suite(tmp_path, tiny_pool, {"checkpoint": str(leaky)}), cwd=tmp_path, code=2)
    assert f"was trained on {instance} of task 'alfworld-gen'" in refused.stderr
    # A list that was put beside the traces later is believed, too.
    (run / "trained_on.txt.xz").write_bytes((leaky / "trained_on.txt.xz").read_bytes())
    refused = mixroute("board", "runs/dmr", cwd=tmp_path, code=2)
    assert f"were trained on '{instance}', which it reports" in refused.stderr


def test_one_of_another_pool_is_warned_of_and_recorded(tmp_path: Path, tiny_pool: Path) -> None:
    folder = checkpoint(tmp_path / "here", [])
    card = json.loads((folder / "card.json").read_text())
    card |= {"recipe": {"pool": "elsewhere"}, "pool": {"high": "1" * 64, "low": "2" * 64}}
    (folder / "card.json").write_text(json.dumps(card))
    done = mixroute("run", suite(tmp_path, tiny_pool, {"checkpoint": str(folder)}), cwd=tmp_path)
    assert " ".join(done.stderr.split()).count("was trained with pool elsewhere, and routes between the models") == 1
    (run,) = find_runs(tmp_path / "runs" / "dmr")
    assert read_meta(run).provenance["trained_with"] == {"pool": "elsewhere", "models": card["pool"]}
    mixroute("board", "runs/dmr", cwd=tmp_path)
    assert "was trained with pool elsewhere" in (tmp_path / "runs/dmr/board/board.md").read_text()
