"""The task as the harness uses it: instances, environments, prompts, the protocol record, and errors."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plugins
from harness.contracts import Task
from harness.data import Message, Observation, Turn
from harness.errors import MixrouteError
from tasks.alfworld.texts import BANNER
from tests.tasks.alfworld.games import KIND, NAMES, game_file, grammar, place, write_packed, write_unpacked
from tests.tasks.alfworld.small import TASK, WINNING, problem


def open_task(data: Path, **arguments: Any) -> Task:
    return plugins.open_task("alfworld", data=str(data), **arguments)


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return write_unpacked(tmp_path / "set")


def test_a_game_is_opened_and_won(games: Path) -> None:
    task = open_task(games)
    instance = task.instances()[0]
    env = task.open(instance)
    obs = env.reset()
    assert obs.text.startswith(BANNER)
    assert obs.text.endswith(TASK)
    assert list(obs.admissible) == sorted(obs.admissible)
    results = [env.step(command)[1:] for command in WINNING]
    assert results == [(0.0, False)] * (len(WINNING) - 1) + [(1.0, True)]
    with pytest.raises(RuntimeError, match="reset it"):
        env.step("look")
    env.reset()
    assert env.step("look")[1:] == (0.0, False)
    env.close()
    env.close()


def test_instances_are_sorted_and_typed(games: Path) -> None:
    instances = open_task(games).instances()
    assert [one.id for one in instances] == [f"valid_seen/{KIND}-Apple-None-Cabinet-1/{name}" for name in sorted(NAMES)]
    assert {one.kind for one in instances} == {KIND}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.xz"])
@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_unseen"])
def test_both_packagings_give_the_same_games(tmp_path: Path, split: str, suffix: str) -> None:
    unpacked = open_task(write_unpacked(tmp_path / "a", split), split=split)
    packed = open_task(write_packed(tmp_path / "b", split, suffix), split=split)
    inner = open_task(tmp_path / "a" / "json_2.1.1", split=split)
    assert unpacked.instances() == packed.instances() == inner.instances()
    assert unpacked.protocol() == packed.protocol() == inner.protocol()
    opened = [task.open(task.instances()[0]).reset() for task in (unpacked, packed, inner)]
    assert opened[0] == opened[1] == opened[2]


def test_the_fingerprint_follows_the_content(games: Path) -> None:
    before = open_task(games).protocol()["data"]
    place(games, "valid_seen", "trial_a").write_text(
        game_file(pddl_problem=problem().replace("loc_bar_9", "loc_bar_5"))
    )
    assert open_task(games).protocol()["data"] != before


def test_data_defaults_to_the_environment_and_then_the_cache(games: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(games))
    assert len(plugins.open_task("alfworld").instances()) == 2
    monkeypatch.delenv("ALFWORLD_DATA")
    monkeypatch.setenv("MIXROUTE_CACHE", str(games / "cache"))
    with pytest.raises(
        MixrouteError, match="cache/alfworld does not exist: get the games with 'mixroute data alfworld'"
    ):
        plugins.open_task("alfworld")
    write_unpacked(games / "cache" / "alfworld")
    assert len(plugins.open_task("alfworld").instances()) == 2


def test_games_that_the_original_skips_are_skipped(games: Path) -> None:
    place(games, "valid_seen", "trial_c").write_text(game_file(solvable=False))
    unknown = game_file().replace(', "solvable": true', "")
    place(games, "valid_seen", "trial_d").write_text(unknown)
    place(games, "valid_seen", "trial_e", "pick_and_place_with_movable_recep").write_text(game_file())
    place(games, "valid_seen", "trial_Sliced").write_text(game_file())
    assert len(open_task(games).instances()) == 2


def test_a_corrupt_game_file_is_named(games: Path) -> None:
    place(games, "valid_seen", "trial_a").write_text(game_file()[:-60])
    with pytest.raises(MixrouteError, match=r"trial_a/game.tw-pddl is not JSON .* 'mixroute data alfworld'"):
        open_task(games)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (game_file(pddl_problem=problem()[:500]), "trial_a is corrupt: 2 parentheses are never closed"),
        (game_file(pddl_problem=None), "trial_a/game.tw-pddl has no text under 'pddl_problem'"),
        (game_file(grammar="{}"), "trial_a/game.tw-pddl: the grammar states no task"),
        (game_file(grammar=grammar().replace("put", "\\q put", 1)), "the task in the grammar is no text"),
        (game_file(grammar=grammar().replace("put", "\\ud800 put", 1)), "the task in the grammar is no text"),
        (game_file(pddl_problem="\ud800" + problem()), "has no text under 'pddl_problem'"),
        (game_file().replace("{", '{"x": ' + "[" * 3000 + "]" * 3000 + ", ", 1), "is not JSON"),
        (game_file(walkthrough=5), "trial_a/game.tw-pddl: 'walkthrough' is not a list of commands"),
        (game_file(pddl_problem=problem().replace("(:init", "(:init (inReceptacle)")), "trial_a is corrupt"),
    ],
)
def test_a_corrupt_game_is_named_when_opened(games: Path, content: str, message: str) -> None:
    place(games, "valid_seen", "trial_a").write_text(content)
    task = open_task(games)
    with pytest.raises(MixrouteError, match=message):
        task.open(task.instances()[0])


def test_a_corrupt_packed_line_is_named(tmp_path: Path) -> None:
    path = write_packed(tmp_path, suffix=".jsonl") / "alfworld_eval.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MixrouteError, match=r"alfworld_eval.jsonl, line 3 is not JSON"):
        open_task(tmp_path)


def test_a_packed_line_that_names_no_split_is_not_passed_over(tmp_path: Path) -> None:
    path = write_packed(tmp_path, suffix=".jsonl") / "alfworld_eval.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"\0" * 200 + lines[0][200:], *lines[1:]]))
    with pytest.raises(MixrouteError, match=r"alfworld_eval.jsonl, line 1 is not JSON"):
        open_task(tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = write_packed(tmp_path) / "alfworld_eval.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MixrouteError, match=r"alfworld_eval.jsonl.xz cannot be read .* cut off or damaged"):
        open_task(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "no split 'test': use one of train, valid_seen, valid_unseen"),
        ({"split": "train"}, "holds neither json_2.1.1/train nor alfworld_train.jsonl.xz"),
        ({"engine": "thor"}, "unknown ALFWorld engine 'thor': use one of native, textworld"),
        ({"dialect": "0.5"}, "unknown ALFWorld dialect '0.5'"),
        ({"prompt": "compakt"}, "unknown scaffold 'compakt': did you mean 'compact'"),
        ({"step_cap": 0}, "step_cap = 0"),
        ({"spilt": "train"}, "did you mean 'split'"),
    ],
)
def test_wrong_arguments_are_named(games: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_task(games, **arguments)


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "json_2.1.1" / "valid_seen").mkdir(parents=True)
    with pytest.raises(MixrouteError, match="has no games of the split 'valid_seen'"):
        open_task(tmp_path)


def test_the_protocol_records_all_that_changes_a_score(games: Path) -> None:
    plain = dict(open_task(games).protocol())
    assert plain | {"data": "", "prompt_hash": ""} == {
        "task": "alfworld", "split": "valid_seen", "games": 2, "data": "", "official_data": False, "engine": "native",
        "dialect": "0.4", "step_cap": 50, "show_admissible": False, "prompt": "compact", "prompt_hash": "",
        "stop": ["\n"], "max_tokens": 24, "invalid_action": "answered 'Nothing happens.'; costs a step",
    }  # fmt: skip
    hashes = {
        open_task(games, **arguments).protocol()["prompt_hash"]
        for arguments in ({}, {"prompt": "chat"}, {"dialect": "0.3"}, {"show_admissible": True})
    }
    assert len(hashes) == 4


def test_success_is_one_win() -> None:
    task = plugins.open_task("alfworld-gen", split="dev", games=1)
    assert [task.is_success(score) for score in (0.0, 0.5, 1.0)] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (" go to desk 1", "go to desk 1"),
        ("> look\n> inventory", "look"),
        (" take mug 1 from desk 1 \nThink: done", "take mug 1 from desk 1"),
        ("Go To Desk 1", "Go To Desk 1"),
        ("\ngo to desk 1", ""),
        ("", ""),
    ],
)
def test_actions_are_read_and_never_repaired(text: str, action: str) -> None:
    assert plugins.open_task("alfworld-gen", split="dev", games=1).parse_action(text) == action


def test_the_compact_prompt(games: Path) -> None:
    task = open_task(games)
    first = Observation(BANNER + "You are in a room.\n\nYour task is to: rest.", ("look",))
    turns = [Turn(first, " look", "look")]
    prompt = task.prompt(turns, Observation("Nothing happens.", ("look",)))
    assert prompt.format == "plain"
    instruction = prompt.messages[0].content.partition("\n")[0]
    assert "move O to R" in instruction
    assert prompt.messages == (
        Message("user", f"{instruction}\nYou are in a room.\nYour task is to: rest.\n>"),
        Message("assistant", " look\n"),
        Message("user", "Nothing happens.\n>"),
    )


def test_the_chat_prompt(games: Path) -> None:
    task = open_task(games, prompt="chat", dialect="0.3", show_admissible=True)
    prompt = task.prompt([], Observation(BANNER + "A room.", ("inventory", "look")))
    assert prompt.format == "chat"
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert "put O in/on R" in prompt.messages[0].content
    assert prompt.messages[1].content == "A room.\nAdmissible commands: inventory, look"


@pytest.mark.parametrize("prompt", ["compact", "chat"])
@pytest.mark.parametrize("show_admissible", [False, True])
@given(texts=st.lists(st.text(max_size=20).map(lambda text: text.replace("\n", "")), max_size=6))
def test_prompts_are_append_only(prompt: str, show_admissible: bool, texts: list[str]) -> None:
    task = plugins.open_task("alfworld-gen", split="dev", games=1, prompt=prompt, show_admissible=show_admissible)
    env = task.open(task.instances()[0])
    observation = env.reset()
    turns: list[Turn] = []
    before = task.prompt(turns, observation).messages
    for text in texts:
        action = task.parse_action(text)
        turns.append(Turn(observation, text, action))
        observation = env.step(action)[0]
        after = task.prompt(turns, observation).messages
        assert after[: len(before)] == before
        assert len(after) == len(before) + 2
        before = after
