"""Whether backend ``transformers`` computes what it must on the device: its contract, and packed layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from harness.backends.self_test import choose
from harness.data import Message, Prompt, Request
from tests.gpu.engine import Engine
from tests.gpu.models import pack
from tests.gpu.results import Budget, Results
from tests.harness.backends import contract
from tests.harness.backends.quantized.grouped_layers import ROUNDING, error_of_grouped_layer
from tests.tiny_model import tiny_model

_LETTERS = " abcdefgh"
_TEXT = "You are in a room. Looking around you, you see a desk 1, a shelf 2 and a bed 1.\n> go to desk 1\n"
_WAYS: dict[str, tuple[torch.dtype, tuple[int | None, bool] | None]] = {
    "float32": (torch.float32, None),
    "bfloat16": (torch.bfloat16, None),
    "W4A16, groups of 32": (torch.bfloat16, (32, False)),
    "W4A16, groups of 64, zero points": (torch.bfloat16, (64, True)),
    "W4A16, one scale an output": (torch.bfloat16, (None, False)),
}
"""Types of the tiny model, whose matrices have 64 or 128 inputs, and how its layers are packed: weights that share a
scale (None: all of an output), and whether there are zero points."""
_TRIED_ON_CPU = ("float32", "W4A16, groups of 32", "W4A16, one scale an output")
_NEAR = {torch.float32: contract.NEAR, torch.bfloat16: 0.2}
"""Nats by which scores may differ from what was recorded: a text is read in other passes than it was written in."""


def check_layers(results: Results, device: str, budget: Budget) -> None:
    """Packed layers against their dequantized weights, for each kind of scales, in a small and in a real size."""
    for outputs, inputs, rows in ((32, 256, 9), (4096, 4096, 1), (4096, 4096, 130)):
        if device == "cpu" and outputs > 32:
            continue
        for group in (32, 64, 128, None):
            for zeros in (False, True):
                about = {"group": group or "output", "zeros": zeros, "outputs": outputs, "inputs": inputs, "rows": rows}
                if budget.left < 0:
                    results.add("layers", skipped=about)
                    continue
                results.guarded("layers", partial(_check_layer, results, device, about), **about)


def _check_layer(results: Results, device: str, about: dict[str, Any]) -> None:
    group = about["group"] if isinstance(about["group"], int) else None
    sizes = {name: about[name] for name in ("outputs", "inputs", "rows")}
    error = error_of_grouped_layer(device, 4, group=group, zeros=about["zeros"], **sizes)
    results.add("layers", **about, error=round(error, 5), passed=error < ROUNDING)


def check_contract(results: Results, device: str, budget: Budget) -> None:
    """The contract, with the tiny model in each type and packing; its self-test first."""
    for way in _TRIED_ON_CPU if device == "cpu" else _WAYS:
        if budget.left < 0:
            results.add("contract", model=way, skipped=True)
        else:
            results.guarded("contract", partial(_check_way, results, device, way, budget), model=way)


def _check_way(results: Results, device: str, way: str, budget: Budget) -> None:
    dtype, packing = _WAYS[way]
    model, tokenizer = tiny_model(letters=_LETTERS)
    model.train(False).requires_grad_(False).to(device=device, dtype=dtype)
    if packing is not None:
        pack(model, packing[0], zeros=packing[1])
    choice = choose(model, tokenizer(_TEXT, add_special_tokens=False)["input_ids"])
    results.add("contract", model=way, check="self-test", passed=choice.way == "packed", found=choice.says)
    engine = Engine("tiny", model, tokenizer, choice, deterministic=True)
    try:
        for name, check in _checks(engine, _NEAR[dtype], exact=dtype == torch.float32).items():
            if budget.left < 0:
                results.add("contract", model=way, check=name, skipped=True)
                continue
            if results.guarded("contract", check, model=way, check=name):
                results.add("contract", model=way, check=name, passed=True)
    finally:
        engine.close()


def _checks(engine: Engine, near: float, *, exact: bool) -> dict[str, Callable[[], None]]:
    one, other = _request(0), _request(1)
    some = [_request(number) for number in range(9)]
    ends = partial(contract.check_it_ends_where_it_must, engine, replace(one, stop=()))
    checks: dict[str, Callable[[], None]] = {
        "answers do not depend on the batch": partial(contract.check_answers_do_not_depend_on_the_batch, engine, some),
        "it ends where it must": ends,
        "a seed repeats its sample": partial(contract.check_a_seed_repeats_its_sample, engine, other),
        "a cancelled call leaves it usable": partial(
            contract.check_a_cancelled_call_leaves_it_usable, engine, replace(one, max_tokens=256), other
        ),
        "a prompt that is too long is its episode's error": partial(
            contract.check_a_prompt_that_is_too_long_is_its_episodes_error, engine
        ),
        "what it scores is what it wrote": partial(
            contract.check_what_it_scores_is_what_it_wrote, engine, some[:4], near
        ),
    }
    if exact:  # elsewhere the other way of reading may turn a near tie
        checks["it goes on from part of an answer"] = partial(
            contract.check_it_goes_on_from_part_of_an_answer, engine, one, 9
        )
    return checks


def _request(number: int) -> Request:
    """A question of three turns."""
    messages = (
        Message("user", _TEXT),
        Message("assistant", f"go to bed {number}"),
        Message("user", ".\n>" * (number + 1)),
    )
    return Request(f"question {number}", Prompt(messages, "plain"), max_tokens=24)
