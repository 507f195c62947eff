"""Chat templates of reasoning models: arguments, thoughts that the template drops or opens, and what is cached then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.backends.encoding import Encoder
from harness.backends.reading import NOTHING, Readings
from harness.data import Prompt
from harness.errors import RunStopped
from tests.harness.scaffolds.test_rendering import BASE, opened, prompts
from tests.tiny_model import tiny_tokenizer

THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{{ message.content.split('</think>')[-1] }}"
    "{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Drops the thoughts of earlier turns, and closes the thought at once where thinking is off."""


def encoder_of(template: str) -> tuple[Any, Encoder]:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer, Encoder(tokenizer)


def played(folder: Path, **changes: Any) -> list[Prompt]:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**BASE, **changes}))
    return list(prompts(opened(str(path)), 4))


@pytest.mark.parametrize(("thinking", "end"), [(True, "assistant\n"), (False, "<think>\n\n</think>\n\n")])
def test_arguments_reach_the_template(tmp_path: Path, thinking: bool, end: str) -> None:
    tokenizer, encoder = encoder_of(THINKING)
    first, *_ = played(tmp_path, template_arguments={"enable_thinking": thinking})
    assert tokenizer.decode(encoder.encode(first).ids).endswith(end)


def test_an_argument_that_the_template_does_not_read_is_named(tmp_path: Path) -> None:
    _, encoder = encoder_of(THINKING)
    first, *_ = played(tmp_path, template_arguments={"enable_thinkin": True})
    with pytest.raises(RunStopped, match="reads no argument 'enable_thinkin'"):
        encoder.encode(first)


def test_what_a_template_drops_is_read_anew_and_so_counted(tmp_path: Path) -> None:
    tokenizer, encoder = encoder_of(THINKING)
    read, before = Readings(), NOTHING
    for prompt in played(tmp_path):
        now = encoder.encode(prompt)
        common = next((n for n, (a, b) in enumerate(zip(before.ids, now.ids, strict=False)) if a != b), len(before.ids))
        cached = read.call("low", now, only_read=False)
        assert cached <= common
        assert cached == max((end for end in before.boundaries if end <= common and end in now.boundaries), default=0)
        assert "thought" not in tokenizer.decode(now.ids)
        before = now
    assert cached > 0
