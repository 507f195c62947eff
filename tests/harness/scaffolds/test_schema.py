"""Files of scaffolds: what is wrong in one is one line that names the key, the value and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import shipped_names
from harness.errors import MixrouteError
from harness.plugins import open_task
from harness.scaffolds import SHIPPED, Scaffold, load_scaffold

TAGS: dict[str, Any] = {
    "thought": {"open": "<think>", "close": "</think>"},
    "action": {"open": "<act>", "close": "</act>"},
}
THINKING: dict[str, Any] = {
    "schema": 1, "name": "mine", "format": "chat", "instruction": "{setting} Write one {noun}{rules}",
    "reply": TAGS, "limits": {"thought_tokens": 64}, "stop": ["</act>"],
}  # fmt: skip


def write(folder: Path, **changes: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**THINKING, **changes}))
    return str(path)


def tags(part: str, **changes: Any) -> dict[str, Any]:
    return {**TAGS, part: {**TAGS[part], **changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"histroy": {}}, "unknown key 'histroy': did you mean 'history'?"),
        ({"instruction": "{ruls}"}, "unknown field {ruls}: did you mean 'rules'?"),
        ({"message": "{goal}"}, "message has no {observation}"),
        ({"message": "{history}{observation}"}, "message lists earlier turns: say how in history.line"),
        ({"history": {"line": "{action}"}}, "history.line: message has no {history}"),
        ({"history": {"last": 0}}, "history.last"),
        ({"history": {"left_out": "{left} turns"}}, "nothing is left out without 'last'"),
        ({"examples": 1}, "examples = 1: the instruction needs {examples}"),
        ({"format": "plain", "template_arguments": {"enable_thinking": True}}, "format 'plain' uses no chat template"),
        ({"template_arguments": {"tokenize": True}}, "template_arguments.tokenize belongs to the backend"),
        ({"format": "plain", "stop": []}, "stop is empty"),
        ({"stop": [""]}, "stop has an empty text"),
        ({"stop": ["</think>"]}, "stop '</think>' ends a reply before its action"),
        ({"limits": {}}, "limits.thought_tokens is missing"),
        ({"limits": {"thought_tokens": 0}}, "limits.thought_tokens"),
        ({"limits": {"thought_tokens": 1 << 17}}, "less than or equal to 65536"),
        ({"limits": {"thought_tokens": 9}, "reply": {}}, "limits a thought that reply does not declare"),
        ({"reply": tags("thought", open="")}, "thought.open is empty"),
        ({"reply": tags("thought", close="")}, "without a closing text it would match everything"),
        ({"reply": tags("thought", open="<act>")}, "thought and action both begin with '<act>'"),
        ({"reply": tags("action", pattern="(.*)")}, "matches everything"),
        ({"reply": tags("action", pattern="(go.*)")}, "matches everything"),
        ({"reply": tags("action", pattern="<do>(.*)</do>")}, "matches nothing that is written with open and close"),
        ({"reply": tags("action", pattern="<act>.*</act>")}, "has 0 groups: give it one"),
        ({"reply": tags("action", pattern="<act>(.*")}, "is no regular expression"),
        ({"reply": {"between": "x"}}, "are of a thought"),
        ({"schema": 2}, "schema"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(MixrouteError) as raised:
        load_scaffold(path)
    assert message in str(raised.value)
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_own_file_is_played_and_hashed_by_what_it_declares(tmp_path: Path) -> None:
    def hash_of(**changes: Any) -> str:
        task = open_task("alfworld-gen", split="dev", games=1, prompt=write(tmp_path, **changes))
        assert task.protocol()["prompt"] == "mine"
        return str(task.protocol()["prompt_hash"])

    same = {hash_of(), hash_of(description="of no matter"), hash_of(history={"thoughts": "keep"})}
    changed: list[dict[str, Any]] = [
        {"history": {"thoughts": "drop"}},
        {"limits": {"thought_tokens": 65}},
        {"limits": {"thought_tokens": 64, "at_thought_limit": "invalid"}},
        {"template_arguments": {"enable_thinking": False}},
        {"reply": {**TAGS, "between": "\n"}},
        {"message": "Now: {observation}"},
        {"admissible": {"show": True}},
    ]
    assert len(same) == 1
    assert len(same | {hash_of(**change) for change in changed}) == 1 + len(changed)


@pytest.mark.parametrize("name", shipped_names(SHIPPED))
def test_shipped_scaffolds_bear_their_file_names(name: str) -> None:
    scaffold = load_scaffold(name)
    assert isinstance(scaffold, Scaffold)
    assert scaffold.name == name
    assert scaffold.description
