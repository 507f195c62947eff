"""Location and reading of the official games, as unpacked game files or packed as JSON lines.

Listing a split reads no more of a game than its name and whether it counts; a game is parsed when it is opened.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.files import cache_folder
from harness.text import is_unicode
from mixroute import Instance, MixrouteError

SPLITS = {"train": "alfworld_train", "valid_seen": "alfworld_eval", "valid_unseen": "alfworld_eval"}
"""Official splits, each with the stem of the packed file that holds it."""

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

FIX = "get the games with 'mixroute data alfworld', or point data= or $ALFWORLD_DATA at a folder that has them"


@dataclass(frozen=True, slots=True)
class GameData:
    """One game. ``domain`` and ``grammar`` are for the original engine only, and empty where the source has none."""

    id: str
    task: str
    """The goal sentence."""
    problem: str
    """The PDDL problem."""
    walkthrough: tuple[str, ...] = ()
    """A winning plan in the words of dialect 0.4."""
    domain: str = ""
    grammar: str = ""


class Source(Protocol):
    """Source of a game; the data of an instance of the ALFWorld tasks."""

    def load(self) -> GameData:
        """Read the game."""
        ...


@dataclass(frozen=True, slots=True)
class GameFile:
    """A ``game.tw-pddl``: JSON with the domain, the grammar that holds the goal sentence, and the problem."""

    id: str
    path: Path

    def load(self) -> GameData:
        """Read the file.

        Raises:
            MixrouteError: it is cut off or lacks a part.
        """
        record = _parse(self.path.read_bytes(), str(self.path))
        grammar = _text(record, "grammar", str(self.path))
        found = re.search(r'"task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*("(?:[^"\\]|\\.)*")', grammar)
        if found is None:
            raise MixrouteError(f"{self.path}: the grammar states no task; {FIX}")
        try:
            task = str(json.loads(found[1]))
            task.encode()
        except ValueError as error:
            raise MixrouteError(f"{self.path}: the task in the grammar is no text ({error}); {FIX}") from error
        return GameData(
            id=self.id,
            task=task,
            problem=_text(record, "pddl_problem", str(self.path)),
            walkthrough=_commands(record, str(self.path)),
            domain=_text(record, "pddl_domain", str(self.path)),
            grammar=grammar,
        )


@dataclass(frozen=True, slots=True)
class PackedLine:
    """A line of a packed file, compressed in memory: 3,553 train games are 230 MB of text."""

    id: str
    where: str
    """File and line number, for messages."""
    folder: Path
    compressed: bytes = field(repr=False)

    def load(self) -> GameData:
        """Unpack the line.

        Raises:
            MixrouteError: it lacks a part.
        """
        record = _parse(zlib.decompress(self.compressed), self.where)
        return GameData(
            id=self.id,
            task=_text(record, "task", self.where),
            problem=_text(record, "pddl_problem", self.where),
            walkthrough=_commands(record, self.where),
            domain=_beside(self.folder / "alfred_2.1.2.pddl"),
            grammar=_beside(self.folder / "alfred_2.1.2.twl2"),
        )


def data_folder(data: str | Path | None) -> Path:
    """The folder to read games from: ``data``, else ``$ALFWORLD_DATA``, else the cache folder of mixroute."""
    chosen = data or os.environ.get("ALFWORLD_DATA")
    return Path(chosen).expanduser() if chosen else cache_folder("alfworld")


def find_games(folder: Path, split: str) -> list[Instance]:
    """The games of a split, sorted by id.

    Args:
        folder: A folder in the official layout (``json_2.1.1/<split>/<type-…>/<trial>/game.tw-pddl``, or what is in its
            ``json_2.1.1``), or one with ``alfworld_eval.jsonl`` and ``alfworld_train.jsonl``, plain or ``.xz``.
        split: ``train``, ``valid_seen`` or ``valid_unseen``.

    Raises:
        MixrouteError: unknown split, missing folder, no games in it, or a corrupt file.
    """
    if split not in SPLITS:
        raise MixrouteError(f"ALFWorld has no split '{split}': use one of {', '.join(SPLITS)}")
    if not folder.is_dir():
        raise MixrouteError(f"the ALFWorld data folder {folder} does not exist: {FIX}")
    for games in (folder / "json_2.1.1" / split, folder / split):
        if games.is_dir():
            found = list(_unpacked(games, split))
            break
    else:
        stem = SPLITS[split]
        packed = next((p for p in (folder / f"{stem}.jsonl.xz", folder / f"{stem}.jsonl") if p.is_file()), None)
        if packed is None:
            raise MixrouteError(f"{folder} holds neither json_2.1.1/{split} nor {stem}.jsonl.xz: {FIX}")
        found = list(_packed(packed, split))
    if not found:
        raise MixrouteError(f"{folder} has no games of the split '{split}': {FIX}")
    return sorted(found, key=lambda instance: instance.id)


def fingerprint(instances: Iterable[Instance]) -> str:
    """SHA-256 of the ids, goal sentences and problems of the games of ``instances``, independent of their packing.

    Problems count by their words, so that line ends and indentation do not matter.
    """
    digest = hashlib.sha256()
    for instance in sorted(instances, key=lambda one: one.id):
        game = instance.data.load()
        for part in (game.id, game.task, " ".join(game.problem.split())):
            digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _unpacked(folder: Path, split: str) -> Iterator[Instance]:
    for path in folder.rglob("game.tw-pddl"):
        place = path.parent.relative_to(folder).as_posix()
        kind = place.split("-", 1)[0]
        # As the original: no movable receptacles, no slicing, only known task types, only games known to be solvable.
        if kind in TASK_TYPES and "movable" not in place and "Sliced" not in place and _solvable(path):
            identifier = f"{split}/{place}"
            yield Instance(identifier, kind, GameFile(identifier, path))


def _solvable(path: Path) -> bool:
    content = path.read_bytes()
    # The flag is the file's last key; parsing 100 kB of JSON for it would make listing the train split take seconds.
    found = re.search(rb'"solvable"\s*:\s*(true|false)\s*[,}]', content[-200:])
    return found[1] == b"true" if found else bool(_parse(content, str(path)).get("solvable", False))


def _packed(path: Path, split: str) -> Iterator[Instance]:
    try:
        for number, line in enumerate(_lines(path), 1):
            where = f"{path}, line {number}"
            known = _SPLIT.search(line[:200])
            if known and known[1].decode() != split:  # parsing every line would take a second
                continue
            record = _parse(line, where)
            identifier = _text(record, "id", where)
            if identifier.startswith(f"{split}/"):
                kind = str(record.get("task_type") or identifier.split("/")[1].split("-", 1)[0])
                yield Instance(identifier, kind, PackedLine(identifier, where, path.parent, zlib.compress(line, 1)))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise MixrouteError(f"{path} cannot be read ({error}): the file is cut off or damaged; {FIX}") from error


_SPLIT = re.compile(rb'"id"\s*:\s*"(%s)/' % "|".join(SPLITS).encode())


def _lines(path: Path) -> Iterator[bytes]:
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as stream:
        yield from stream


def _beside(path: Path) -> str:
    """A file that all packed games share; only the original engine needs it, and has one of its own."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MixrouteError(f"{where} is not JSON ({error}): the file is cut off or damaged; {FIX}") from error
    if not isinstance(record, dict):
        raise MixrouteError(f"{where} is not a JSON object; {FIX}")
    return record


def _text(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not is_unicode(value):
        raise MixrouteError(f"{where} has no text under '{key}'; {FIX}")
    return value


def _commands(record: dict[str, Any], where: str) -> tuple[str, ...]:
    """The walkthrough, if the record has one."""
    value = record.get("walkthrough") or []
    if not isinstance(value, list) or not all(isinstance(command, str) for command in value):
        raise MixrouteError(f"{where}: 'walkthrough' is not a list of commands; {FIX}")
    return tuple(value)


def counts(instances: Sequence[Instance]) -> dict[str, int]:
    """Games by task type, in the official order of the types."""
    return {kind: sum(instance.kind == kind for instance in instances) for kind in TASK_TYPES}
