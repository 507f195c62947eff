"""The work that the campaign disturbs: for each kind, how it is done and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.traces.index import INDEX
from tests.campaign.children import Work, command
from tests.routers.dmr.test_label import write_recipe
from tests.small_suite import write_suite

CLOCK = ("timings.jsonl", INDEX, "log", ".lock", "tensorboard")
"""Files whose content depends on the clock."""


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes:
        name: Name in the figures.
        share: Share of all kills.
        work: The work in a folder that ``prepare`` was given.
        left: What must be the same in the end, by name.
        prepare: Puts what the work reads into an empty folder.
        done: What is finished already, and may never be lost.
    """

    name: str
    share: float
    work: Callable[[Path], Work]
    left: Callable[[Path], Mapping[str, str]]
    prepare: Callable[[Path], object] = lambda folder: None
    done: Callable[[Path], Mapping[str, str]] = lambda folder: {}


def files(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder, save what depends on the clock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.endswith(CLOCK) for part in path.relative_to(folder).parts)
    }


def episodes(folder: Path) -> dict[str, str]:
    """Hashes of the whole lines of all traces below a folder, by run and instance."""
    found = {}
    for path in sorted(folder.rglob("episodes.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                name = f"{path.parent.name} {json.loads(line)['instance']}"
                assert name not in found
                found[name] = hashlib.sha256(line).hexdigest()
    return found


def traces(folder: Path) -> dict[str, str]:
    """Hashes of all traces below a folder."""
    return {name: digest for name, digest in files(folder).items() if name.endswith(("episodes.jsonl", "labels.jsonl"))}


def kinds(pool: Path, weights: Path, played: Path, products: Path) -> list[Kind]:
    """All kinds of work.

    Args:
        pool: File of a tiny pool.
        weights: Folder of the tiny model.
        played: Folder of finished runs.
        products: Folder of WebShop's files.
    """

    def build_store() -> None:
        from tasks.webshop import load_catalogue

        load_catalogue(products, on_disk=True)

    def convert() -> None:
        from harness.weights.rounding import rounded_folder

        rounded_folder(weights, "rtn-w4-channel")

    def networks(folder: Path) -> dict[str, str]:
        return {name: digest for name, digest in files(folder / "runs").items() if name.endswith("network.safetensors")}

    return [
        Kind(
            "run",
            0.25,
            lambda folder: command("run", "suite.yaml", "--out", "runs"),
            traces,
            lambda folder: write_suite(folder, pool),
            episodes,
        ),
        Kind(
            "board",
            0.15,
            lambda folder: command("board", played, "--out", "board", "--traces"),
            lambda folder: files(folder / "board"),
        ),
        Kind(
            "pack",
            0.2,
            lambda folder: command("pack", played, "--out", "entries"),
            lambda folder: files(folder / "entries"),
        ),
        Kind(
            "label",
            0.08,
            lambda folder: command("label", "recipe.yaml"),
            traces,
            lambda folder: write_recipe(folder, pool),
            episodes,
        ),
        Kind(
            "train dmr",
            0.07,
            lambda folder: command("train", "dmr", "recipe.yaml"),
            networks,
            lambda folder: write_recipe(folder, pool),
            episodes,
        ),
        Kind("conversion of weights", 0.15, lambda folder: convert, lambda folder: converted(folder / "cache")),
        Kind("WebShop's store", 0.05, lambda folder: build_store, lambda folder: stores(folder / "cache")),
    ]


def converted(cache: Path) -> dict[str, str]:
    """Hashes of the converted weights; scratch that a kill has left counts, too."""
    return {name: digest for name, digest in files(cache).items() if not name.endswith(".lock")}


def stores(cache: Path) -> dict[str, str]:
    """Hash of the content of the catalogue's database; its pages may lie otherwise after a stop."""
    import sqlite3
    from contextlib import closing

    found = {}
    for path in sorted(cache.rglob("*")):
        if path.suffix == ".sqlite" and "stores" in path.parts:
            with closing(sqlite3.connect(path)) as store:
                digest = hashlib.sha256("\n".join(store.iterdump()).encode()).hexdigest()
            found[path.name] = digest
        elif path.suffix in (".part", ".scratch"):
            found[path.name] = "left behind"
    return found


def start_again(folder: Path, kind: Kind) -> None:
    """An empty folder with what the work reads."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kind.prepare(folder)
