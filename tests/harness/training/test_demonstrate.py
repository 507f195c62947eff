"""What is learned: the expert's actions and nothing else, in the very tokens of play."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from harness.backends.encoding import Encoder
from harness.contracts import Teachable, Thinker, scaffold_of
from harness.data import Observation, Turn
from harness.records import Episode
from harness.traces.store import find_runs, read_episodes
from harness.training.demonstrate import Demonstration, demonstrations, open_lesson
from harness.training.examples import IGNORED, batched, collate, encode
from harness.training.mistakes import MistakenThoughts
from harness.training.recipe import Lesson
from mixroute import Task
from tests.command import mixroute


def shown(played: dict[str, Episode] | None = None, **changes: object) -> tuple[list[Demonstration], Task]:
    lesson = Lesson.model_validate({"task": "alfworld-gen", "args": {"games": 12}, **changes})
    opened = open_lesson(lesson)
    return list(demonstrations(lesson, opened, 0, played)), opened.task


def test_without_slips_every_action_is_the_experts() -> None:
    found, _ = shown()
    assert len(found) == 12
    assert all(all(one.taught) for one in found)


def test_slips_are_read_and_not_learned() -> None:
    found, task = shown(slips=0.3)
    assert isinstance(task, Teachable)
    taught = [flag for one in found for flag in one.taught]
    assert 0.15 < 1 - sum(taught) / len(taught) < 0.4
    expert = task.expert()
    for one in found:
        for index, (turn, right) in enumerate(zip(one.turns, one.taught, strict=True)):
            assert right == (turn.action == expert.act(one.turns[:index], turn.observation))


def test_slips_come_from_the_seed() -> None:
    assert shown(slips=0.3)[0] == shown(slips=0.3)[0]
    found = [shown(mistaken_thoughts=0.2, args={"games": 4, "prompt": "think"})[0] for _ in range(2)]
    assert found[0] == found[1]


def test_mistaken_thoughts_are_read_and_not_learned() -> None:
    found, task = shown(mistaken_thoughts=0.4, args={"games": 24, "prompt": "think"})
    assert isinstance(task, Teachable)
    expert, scaffold = task.expert(), scaffold_of(task)
    assert isinstance(expert, Thinker)
    assert scaffold is not None
    taught = [flag for one in found for flag in one.taught]
    assert 0.3 < 1 - sum(taught) / len(taught) < 0.7
    repeated = thought_alone = 0
    for one in found:
        for index, (turn, right) in enumerate(zip(one.turns, one.taught, strict=True)):
            before, seen = one.turns[:index], turn.observation
            learned = turn.thought == expert.think(before, seen), turn.action == expert.act(before, seen)
            assert right == all(learned)
            thought_alone += learned == (False, True)
            assert turn.text == scaffold.reply_text(turn.thought, turn.action)
            repeated += not right and index > 0 and turn.text == one.turns[index - 1].text
    # Agents that think copy a mistaken thought word for word; that two drawn ones are alike by chance is rare.
    assert repeated > 0.25 * taught.count(False)
    assert thought_alone, "no wrong thought before a right action, which must not be learned either"


def test_mistaken_thoughts_follow_from_the_play_of_the_game() -> None:
    """Each is one of the expert's own, but for a number, so that it is likely at another moment."""
    rng = random.Random(4)
    play = [Turn(Observation("a room"), "", "take mug 12 from desk 2", "Here at desk 2 is mug 12.")]
    mistakes = MistakenThoughts(0.9, play, rng)
    drawn = {pair for pair in (mistakes.draw() for _ in range(300)) if pair}
    assert (play[0].thought, play[0].action) in drawn
    for thought, action in drawn:
        mug, desk = re.findall(r"\d+", action)
        assert action == f"take mug {mug} from desk {desk}"
        assert thought == f"Here at desk {desk} is mug {mug}."
        assert (mug == "12") or (desk == "2")
    assert len(drawn) > 10


@pytest.mark.parametrize("prompt", ["compact", "chat"])
def test_labels_are_the_tokens_that_a_model_would_decode(tiny_weights: Path, prompt: str) -> None:
    found, task = shown(slips=0.2, args={"games": 4, "prompt": prompt})
    assert isinstance(task, Teachable)
    tokenizer = AutoTokenizer.from_pretrained(tiny_weights)
    encoder = Encoder(tokenizer)
    for one in found:
        example = encode(one, task, encoder)
        assert len(example.ids) == len(example.labels)
        for index, (turn, taught) in enumerate(zip(one.turns, one.taught, strict=True)):
            prompt_ids = encoder.encode(task.prompt(one.turns[:index], turn.observation)).ids
            start = len(prompt_ids)
            assert list(example.ids[:start]) == prompt_ids
            stop = len(turn.text.encode())  # the tokenizer has a token a byte, and one more ends the action
            labels = example.labels[start : start + stop + 1]
            if taught:
                assert tokenizer.decode(list(labels[:-1])) == turn.text
                assert labels == example.ids[start : start + stop + 1]
            else:
                assert set(labels) == {IGNORED}
        learned = sum(label != IGNORED for label in example.labels)
        assert learned == sum(
            len(turn.text.encode()) + 1 for turn, taught in zip(one.turns, one.taught, strict=True) if taught
        )


def test_batches_hold_every_example_once_and_keep_to_the_budget(tiny_weights: Path) -> None:
    found, task = shown()
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_weights))
    examples = [encode(one, task, encoder) for one in found]
    budget = 3 * max(len(example.ids) for example in examples)
    batches = batched(examples, budget, seed=1)
    assert sorted(example.ids for batch in batches for example in batch) == sorted(example.ids for example in examples)
    assert all(collate(batch)["input_ids"].numel() <= budget for batch in batches)
    assert batches == batched(examples, budget, seed=1)
    assert batches != batched(examples, budget, seed=2)


def test_the_expert_takes_over_where_a_player_went_astray(tmp_path: Path, tiny_pool: Path) -> None:
    (tmp_path / "suite.yaml").write_text(
        f"schema: 1\nname: astray\npool: {tiny_pool}\ntasks:\n"
        "  - {task: alfworld-gen, split: train, args: {games: 3, step_cap: 4}}\nrouters: [always-high]\n"
    )
    mixroute("run", "suite.yaml", cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs" / "astray")
    played = {episode.instance: episode for episode in read_episodes(run)}
    found, _ = shown(played, args={"games": 3}, takeover=True)
    assert len(found) == 3
    for one in found:
        assert not one.taught[0]  # a random model does not do what the expert would
        assert one.taught[-1]
        lost = [index for index, taught in enumerate(one.taught) if not taught]
        assert len(lost) <= 4
