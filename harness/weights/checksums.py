"""Checksums of trained weights, so that damaged ones are refused instead of deciding otherwise.

A checkpoint's card holds the SHA-256 of the files beside it. Shipped checkpoints are older than that, and their folders
are part of the identity of published runs; a file ``SHA256SUMS`` beside the folders, as ``sha256sum`` writes it, holds
theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from harness.errors import MixrouteError

CARD = "card.json"
SUMS = "SHA256SUMS"


class _Card(msgspec.Struct):
    files: dict[str, str] = {}


def file_sums(folder: Path, without: Collection[str] = ()) -> dict[str, str]:
    """SHA-256 (hex) of the files directly in ``folder``, by name."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in without)
    return {path.name: file_sum(path) for path in files}


def file_sum(path: Path) -> str:
    """SHA-256 (hex) of a file of any size.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_sum(path: Path) -> None:
    """Refuse a file of a checkpoint whose content is not what its checksum says; one without a checksum is taken.

    Raises:
        MixrouteError: it is damaged or cannot be read.
    """
    expected = _sum_in_card(path) or _shipped_sum(path)
    if expected is None:
        return
    try:
        found = file_sum(path)
    except OSError as error:
        raise MixrouteError(f"{path} cannot be read ({error.strerror}): get the checkpoint again") from error
    if found != expected:
        raise MixrouteError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, but {expected[:12]}… is recorded: get the checkpoint "
            "again"
        )


def _sum_in_card(path: Path) -> str | None:
    try:
        return msgspec.json.decode((path.parent / CARD).read_bytes(), type=_Card).files.get(path.name)
    except (OSError, msgspec.MsgspecError, RecursionError):  # whoever needs the card says what is wrong with it
        return None


def _shipped_sum(path: Path) -> str | None:
    """The SHA-256 that the file ``SHA256SUMS`` beside the checkpoint's folder has for a file."""
    folder = path.parent.resolve()
    try:
        lines = (folder.parent / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    name = f"{folder.name}/{path.name}"
    return next((digest for digest, _, file in (line.partition("  ") for line in lines) if file == name), None)
