"""Small JSON files that are damaged or foreign: each reader says so with one error that names the file."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.json_files import decode_json, read_json
from harness.plan.plan import FILE, SCHEMA, Plan, PlannedRun, settle
from harness.plan.show import print_settled
from harness.plan.usage import Usage
from harness.pool import ModelSpec
from harness.speed.card import save_speed_card
from harness.speed.rates import open_rates
from harness.suite import RunConfig
from harness.training.card import RouterCard, read_card, write_card
from harness.training.state import LOG, STATE, resume, save_state
from mixroute import MixrouteError
from tests.damage import damaged, damaged_bytes
from tests.examples import parser_examples
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.speed.cards import speed_card as card_of


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 2000 + b"]" * 2000, b"[" * 300_000, b"[" * 101 + b"]" * 101, b"\xff", b'"\xff"', b"1" * 400, b"1" * 5000,
        b"1e999", b"NaN", b"", b"{", b'"\\ud800"', b'"\\u0000"', b'{"a": 9223372036854775808}',
    ],
    ids=lambda content: ascii(content[:20]),
)  # fmt: skip
def test_what_is_no_value_is_named(content: bytes) -> None:
    with pytest.raises(MixrouteError, match=r"^here is (no JSON|not valid) \(.*\): restore it$") as raised:
        decode_json(content, object, "here", "restore it")
    assert len(str(raised.value)) < 250


def test_a_value_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, "\\u00e9", null, true], "b": -9223372036854775807}')
    found: object = read_json(tmp_path / "a.json", dict[str, object], "restore it")
    assert found == {"a": [1, 2.5, "é", None, True], "b": -9223372036854775807}


@pytest.mark.parametrize(("name", "message"), [("nowhere.json", "cannot be read"), (".", "no regular file")])
def test_what_is_no_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        read_json(tmp_path / name, object, "restore it")


def plan(folder: Path) -> Path:
    write_run(folder / "run", Run("random", {"game/0": Play("hl")}))
    config = RunConfig(
        task="alfworld", task_args={}, split="s", limit=None, pool="toy", router="random", router_args={"p": 0.5},
        seed=0, mode="deterministic", temperature=0.0,
    )  # fmt: skip
    usage = Usage(1, 2, {"high": (1.0, 2.0, 3.0)}, {"weight_bytes": 3.0, "flops": None, "seconds": 1.0})
    runs = [PlannedRun("a run", config.model_dump(), 4, 1, "guessed", usage, 0.5, Usage())]
    prices = {"models": {"high": {"input": 1.0, "cached": 0.1, "output": 2.0}}, "hour": 1.0}
    path = folder / FILE
    path.write_bytes(msgspec.json.encode(Plan(SCHEMA, "small", "measured", prices, runs)))
    return path


def settled(path: Path) -> None:
    made = settle(path.parent)
    if made is not None:
        print_settled(made, Console(file=io.StringIO()))
        settle(path.parent)  # what was written is read again


def speed_card(folder: Path) -> Path:
    save_speed_card(folder / "speed.json", card_of())
    return folder / "speed.json"


def charged(path: Path) -> None:
    rates = open_rates(path, 2)
    assert rates is not None
    assert rates.prefill_seconds("high", 100) >= 0
    rates.note()


def router_card(folder: Path) -> Path:
    card = RouterCard(schema=1, name="r", recipe={"a": 1}, pool={"high": "f"}, facts={"dev": [0.5]}, provenance={})
    write_card(folder, card, ["t x"])
    return folder / "card.json"


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "plan": (plan, settled),
    "speed card": (speed_card, charged),
    "card": (router_card, lambda path: read_card(ModelSpec(weights=str(path.parent)))),
}


def emptied(folder: Path) -> Path:
    """The folder, empty: examples of hypothesis follow one another in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", FILES)
@parser_examples(40)
@given(data=st.data())
def test_a_damaged_file_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = emptied(tmp_path_factory.getbasetemp() / "json")
    make, read = FILES[name]
    path = make(folder)
    read(path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        read(path)
    except MixrouteError as error:
        assert str(folder) in str(error)
        assert len(str(error)) < 1000


def training() -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
    torch.manual_seed(0)
    tensors = {"a": torch.randn(3, 2, requires_grad=True), "b": torch.randn(4, requires_grad=True)}
    optimizer = torch.optim.AdamW(tensors.values(), lr=0.1)
    sum(tensor.square().sum() for tensor in tensors.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    return tensors, optimizer


@pytest.mark.parametrize("name", [STATE, LOG])
@parser_examples(40)
@given(data=st.data())
def test_a_damaged_state_of_a_training_is_named_and_restores_nothing(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = emptied(tmp_path_factory.getbasetemp() / "state")
    tensors, optimizer = training()
    history = [{"loss": 0.5}, {"loss": 0.25}]
    save_state(folder, tensors, optimizer, history)
    saved = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    path = folder / name
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    fresh = {key: torch.zeros_like(tensor, requires_grad=True) for key, tensor in tensors.items()}
    try:
        found = resume(folder, fresh, torch.optim.AdamW(fresh.values(), lr=0.1))
    except MixrouteError as error:
        assert str(folder) in str(error)
        assert not any(tensor.any() for tensor in fresh.values())
    else:
        assert all(torch.equal(fresh[key], saved[key]) for key in saved)
        assert name == LOG or found == history


def test_a_training_with_metrics_that_are_no_numbers_resumes(tmp_path: Path) -> None:
    tensors, optimizer = training()
    history = [{"loss": 0.5, "norm": float("inf")}, {"loss": float("nan"), "norm": 1.0}]
    for _ in range(2):
        save_state(tmp_path, tensors, optimizer, history)
        history = resume(tmp_path, tensors, optimizer)
    assert repr(history) == "[{'loss': 0.5, 'norm': nan}, {'loss': nan, 'norm': 1.0}]"


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    tensors, optimizer = training()
    save_state(tmp_path, tensors, optimizer, [{"loss": 0.5}])
    other = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    with pytest.raises(MixrouteError, match="its tensors are not those that are trained"):
        resume(tmp_path, other, torch.optim.AdamW(other.values()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"gpus": []', '"gpus": "none"'),
        ('"cpu": "a CPU"', '"cpus": 1'),
        ('"random": false', '"random": "no"'),
        ('"prompt_tokens": 10', '"prompt_tokens": 0'),
        ('"concurrency": 4', '"concurrency": -4'),
        ('"prefill": 1.0', '"prefill": 1e300'),
    ],
)
def test_a_speed_card_is_checked_where_it_is_read(tmp_path: Path, old: str, new: str) -> None:
    path = speed_card(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MixrouteError, match=r"speed.json is not valid \(.*\): it is no speed card of schema 1"):
        open_rates(path, 2)


def test_one_wrong_bit_of_a_state_is_found(tmp_path: Path) -> None:
    tensors, optimizer = training()
    save_state(tmp_path, tensors, optimizer, [{"loss": 0.5}])
    content = bytearray((tmp_path / STATE).read_bytes())
    content[-1] ^= 1
    (tmp_path / STATE).write_bytes(content)
    fresh = {key: torch.zeros_like(tensor, requires_grad=True) for key, tensor in tensors.items()}
    with pytest.raises(MixrouteError, match=r"state.safetensors is damaged.*its SHA-256 is not the recorded one"):
        resume(tmp_path, fresh, torch.optim.AdamW(fresh.values()))
    assert not any(tensor.any() for tensor in fresh.values())
