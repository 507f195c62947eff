"""Prompts in tokens: tokenizers that put a space before what they are given, and chat templates of every temper."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from harness.backends.decoding import content_length, decode
from harness.backends.encoding import Encoder
from harness.backends.generation_settings import generation_settings
from harness.engine.runner import SuiteRunner
from harness.errors import RunStopped
from harness.suite import Suite
from harness.traces.store import read_meta
from mixroute import EpisodeError, Message, MixrouteError, Prompt
from tests.harness.backends.asking import open_model
from tests.tiny_model import TEMPLATE

SPECIALS = ["<unk>", "<s>", "</s>"]
CHARACTERS = [*sorted({chr(code) for code in range(32, 127)}), "\n", "▁"]
MERGES = [("▁", "g"), ("▁g", "o"), ("\n", ">"), ("▁", "▁"), ("\n", "\n")]


def character_model(byte_fallback: bool = False) -> Tokenizer:
    tokens = [f"<0x{value:02X}>" for value in range(256)] if byte_fallback else []
    vocabulary = {token: place for place, token in enumerate([*SPECIALS, *tokens, *CHARACTERS])}
    merges = [] if byte_fallback else MERGES
    for one, other in merges:
        vocabulary[one + other] = len(vocabulary)
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=byte_fallback))


def llama2(byte_fallback: bool) -> Tokenizer:
    tokenizer = character_model(byte_fallback)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def metaspace(scheme: str) -> Tokenizer:
    tokenizer = character_model()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer


def byte_level(prefix: bool) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def opened(tokenizer: Tokenizer) -> PreTrainedTokenizerBase:
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]


def turns(*texts: str) -> Prompt:
    roles = ("user", "assistant")
    return Prompt(tuple(Message(roles[place % 2], text) for place, text in enumerate(texts)), "plain")  # type: ignore[arg-type]


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "Llama-2": lambda: llama2(False),
    "Llama-2 with bytes": lambda: llama2(True),
    "Metaspace always": lambda: metaspace("always"),
    "Metaspace first": lambda: metaspace("first"),
    "byte level": lambda: byte_level(False),
    "byte level with a space": lambda: byte_level(True),
}
TOKENIZERS = {name: opened(make()) for name, make in KINDS.items()}
ENCODERS = {name: Encoder(tokenizer) for name, tokenizer in TOKENIZERS.items()}
texts = st.text(st.sampled_from("go >\n1."), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(texts, min_size=1, max_size=5))
def test_turns_are_read_as_the_text_of_all_of_them(kind: str, pieces: list[str]) -> None:
    tokenizer, encoder = TOKENIZERS[kind], ENCODERS[kind]
    whole = tokenizer("".join(pieces), add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(encoder.encode(turns(*pieces)).ids) == tokenizer.decode(whole)
    shorter, longer = (encoder.encode(turns(*pieces[:count])) for count in (max(1, len(pieces) - 2), len(pieces)))
    assert longer.ids[: len(shorter.ids)] == shorter.ids
    continued = encoder.encode(turns(*pieces), continue_from="go")
    assert tokenizer.decode(continued.ids) == tokenizer.decode([*encoder.encode(turns(*pieces, "go")).ids])


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_keeps_its_first_space(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    for answer in (" go to 1", "go"):
        ids = tokenizer(">" + answer, add_special_tokens=False)["input_ids"]
        start = len(tokenizer(">", add_special_tokens=False)["input_ids"])
        assert decode(tokenizer, ids[start:]) == answer
        assert content_length(tokenizer, ids[start:], answer) == len(ids) - start


def test_a_prompt_that_cannot_be_taken_apart_is_tokenised_whole(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = character_model()
    # Every text ends in a mark, so that no lead helps.
    tokenizer.normalizer = normalizers.Replace(Regex("$"), "▁")
    tokenizer.decoder = decoders.Fuse()
    whole = opened(tokenizer)
    encoder = Encoder(whole)
    assert "prompts are tokenised whole" in caplog.text
    prompt = turns("The room.\n>", " go\n", "A desk.\n>")
    encoded = encoder.encode(prompt)
    assert encoded.ids == whole("The room.\n> go\nA desk.\n>", add_special_tokens=False)["input_ids"]
    assert encoded.boundaries[-1] == len(encoded.ids)


ROLES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}" + TEMPLATE
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
DROPS_SYSTEM = TEMPLATE.replace("in messages %}", "in messages if message['role'] != 'system' %}")
NEEDS_USER = (
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}{{ raise_exception('No user') }}"
    "{% endif %}" + TEMPLATE
)
ENDS_IN_USER = "{% if messages[-1]['role'] != 'user' %}{{ raise_exception('user last') }}{% endif %}" + TEMPLATE
DATE = "Today: {{ strftime_now('%d %b %Y %H:%M:%S') }}\n" + TEMPLATE
BROKEN = "{{ raise_exception('never') }}"

SYSTEM, USER, ANSWER, MORE = (
    Message("system", "Play."),
    Message("user", "A room."),
    Message("assistant", "look"),
    Message("user", "A desk."),
)


def encoder_with(template: str, folder: Path) -> tuple[Encoder, PreTrainedTokenizerBase]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    return Encoder(tokenizer), tokenizer


@pytest.mark.parametrize("template", [ROLES, NO_SYSTEM, DROPS_SYSTEM])
def test_an_instruction_that_a_template_cannot_say_is_said_by_the_user(template: str, tiny_weights: Path) -> None:
    encoder, tokenizer = encoder_with(template, tiny_weights)
    first, second = (encoder.encode(Prompt(messages)) for messages in ((SYSTEM, USER), (SYSTEM, USER, ANSWER, MORE)))
    assert "user\nPlay.\n\nA room.<|im_end|>" in tokenizer.decode(second.ids)
    assert second.cached_prefix_length(first) == len(first.ids)
    assert encoder.notes(Prompt((SYSTEM, USER))) == {"system": "folded into the first user turn"}
    assert encoder.notes(Prompt((USER,))) == encoder.notes(Prompt((SYSTEM, USER), "plain")) == {}


@pytest.mark.parametrize("template", [TEMPLATE, NEEDS_USER, ENDS_IN_USER])
def test_a_prefix_that_cannot_be_rendered_is_no_border(template: str, tiny_weights: Path) -> None:
    encoder, _ = encoder_with(template, tiny_weights)
    plain, _ = encoder_with(TEMPLATE, tiny_weights)
    prompt = Prompt((SYSTEM, USER, ANSWER, MORE))
    assert encoder.encode(prompt).ids == plain.encode(prompt).ids
    assert {*encoder.encode(prompt).boundaries} <= {*plain.encode(prompt).boundaries}
    assert encoder.notes(prompt) == {}


def test_the_date_is_the_same_in_every_run(tiny_weights: Path) -> None:
    encoder, tokenizer = encoder_with(DATE, tiny_weights)
    assert str(tokenizer.decode(encoder.encode(Prompt((USER,))).ids)).startswith("Today: 01 Jan 2025 00:00:00\n")
    assert encoder.notes(Prompt((USER,))) == {"clock": "2025-01-01T00:00:00"}


def test_a_template_that_renders_nothing_is_named(tiny_weights: Path) -> None:
    encoder, _ = encoder_with(BROKEN, tiny_weights)
    with pytest.raises(RunStopped, match="cannot render the prompt: TemplateError: never"):
        encoder.encode(Prompt((USER,)))
    encoder, _ = encoder_with(ROLES, tiny_weights)
    with pytest.raises(EpisodeError, match="roles must alternate"):
        encoder.encode(Prompt((USER, USER)))


def test_what_is_done_to_conversations_is_in_the_protocol(tiny_weights: Path, tmp_path: Path) -> None:
    def played(name: str, template: str, **task: Any) -> dict[str, Any]:
        folder = tmp_path / name
        shutil.copytree(tiny_weights, folder)
        (folder / "chat_template.jinja").write_text(template)
        pool = {"schema": 1, "name": "p", "models": {"high": {"weights": str(folder)}}}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(pool))
        entry = {"task": "alfworld-gen", "split": "dev", "limit": 1, "args": {"step_cap": 1, **task}}
        suite = {"schema": 1, "name": "s", "pool": str(tmp_path / f"{name}.yaml"), "tasks": [entry]}
        runner = SuiteRunner(
            Suite.model_validate({**suite, "routers": ["always-high"]}), tmp_path / f"runs-{name}", Console(quiet=True)
        )
        (run,) = runner.run()
        assert not [episode.error for episode in run.episodes() if episode.error]
        return read_meta(run.folder).protocol

    chat = {"prompt": "chat"}
    with_role, without = played("role", TEMPLATE, **chat), played("none", NO_SYSTEM, **chat)
    assert without == {**with_role, "chat_template": {"high": {"system": "folded into the first user turn"}}}
    assert "chat_template" not in played("plain", NO_SYSTEM)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repetition_penalty": 1.1}, "repetition_penalty 1.1"),
        ({"suppress_tokens": [3, 4]}, r"suppress_tokens \[3, 4\]"),
        ({"no_repeat_ngram_size": 1}, "no_repeat_ngram_size 1"),
        ({"min_new_tokens": 5, "bad_words_ids": [[7]]}, r"bad_words_ids \[\[7\]\], min_new_tokens 5"),
        ({"forced_eos_token_id": 2}, "forced_eos_token_id 2"),
    ],
)
def test_settings_that_would_change_answers_are_refused(
    settings: dict[str, Any], message: str, tiny_weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_weights, folder)
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(MixrouteError, match=f"{message}.*set its option 'generation_config: ignore'"):
        open_model(folder)
    open_model(folder, generation_config="ignore").close()


def test_settings_of_sampling_are_the_suites(tiny_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_weights, folder)
    file = folder / "generation_config.json"
    sampling = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.0}
    file.write_text(json.dumps({**json.loads(file.read_text()), **sampling}))
    open_model(folder).close()


@pytest.mark.parametrize("content", ['{"repetition_penalty": 1.', "[]"])
def test_a_damaged_generation_config_is_named(content: str, tiny_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_weights, folder)
    (folder / "generation_config.json").write_text(content)
    for reading in (lambda: open_model(folder), lambda: generation_settings(folder)):
        with pytest.raises(MixrouteError, match=r"generation_config\.json is "):
            reading()
    (folder / "generation_config.json").unlink()
    assert generation_settings(folder) == {}
