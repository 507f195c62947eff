"""Catalogues from files and from the generator: the same in memory and on disk, and built on after a stop."""

from __future__ import annotations

import json
import lzma
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MixrouteError
from tasks.webshop import Catalogue, builder, load_catalogue
from tasks.webshop.catalogue import open_catalogue
from tasks.webshop.generate import Generated, write_files
from tasks.webshop.store import SCHEMA

QUERIES = ("women's hoodies with long sleeve", "queen size", "blue", "no such thing at all zzz", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(Generated("dev", 120), tmp_path / "data")


def contents(catalogue: Catalogue) -> Any:
    found = [catalogue.search(query) for query in QUERIES]
    return catalogue.fingerprint, list(catalogue), list(catalogue.goals()), list(catalogue.goals("human")), found


def test_files_hold_what_the_generator_makes(folder: Path) -> None:
    assert contents(load_catalogue(folder)) == contents(open_catalogue(Generated("dev", 120)))


def test_memory_and_disk_hold_the_same(folder: Path) -> None:
    at_first = contents(load_catalogue(folder, on_disk=True))
    again = load_catalogue(folder, on_disk=True)
    assert again.on_disk
    assert at_first == contents(again) == contents(load_catalogue(folder, on_disk=False))


def test_packed_files_hold_the_same(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in folder.iterdir():
        (packed / f"{file.name}.xz").write_bytes(lzma.compress(file.read_bytes()))
    assert contents(load_catalogue(packed)) == contents(load_catalogue(folder))


def test_a_process_has_one_catalogue(folder: Path) -> None:
    catalogue = load_catalogue(folder)
    assert load_catalogue(folder) is catalogue


def test_a_stopped_build_goes_on(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(load_catalogue(folder, on_disk=False))
    monkeypatch.setattr(builder, "BATCH", 20)
    add, added = builder.StoreBuilder.add, 0

    def stopping(self: builder.StoreBuilder, *arguments: Any) -> None:
        nonlocal added
        added += 1
        if added == 50:
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(builder.StoreBuilder, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        load_catalogue(folder, on_disk=True)
    assert [file.suffix for file in (cache / "webshop" / "stores").iterdir() if file.suffix == ".sqlite"] == []
    assert contents(load_catalogue(folder, on_disk=True)) == expected
    assert added == 50 + 120 - 40  # the first two batches were kept


@pytest.mark.parametrize("instructions", [*range(25, 1000, 75), 3000])
def test_a_build_that_stops_at_any_instruction_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: int
) -> None:
    folder = write_files(Generated("dev", 10), tmp_path / "data")
    connect, left = sqlite3.connect, iter(range(instructions, -1, -1))

    def stopping(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_progress_handler(lambda: next(left, 0) == 0, 1)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", stopping)
        with pytest.raises(MixrouteError, match="run again"):
            load_catalogue(folder, on_disk=True)
    assert contents(load_catalogue(folder, on_disk=True)) == contents(load_catalogue(folder, on_disk=False))


def test_half_of_an_unfinished_database_is_removed(folder: Path, cache: Path) -> None:
    load_catalogue(folder, on_disk=True)
    (finished,) = (cache / "webshop" / "stores").glob("*.sqlite")
    finished.unlink()
    connection = sqlite3.connect(finished.with_suffix(".part"))
    connection.executescript(SCHEMA)
    connection.close()
    finished.with_suffix(".scratch").touch()
    with pytest.raises(MixrouteError, match="was removed: run again"):
        load_catalogue(folder, on_disk=True)
    load_catalogue(folder, on_disk=True)


def test_a_damaged_database_is_named(folder: Path, cache: Path) -> None:
    load_catalogue(folder, on_disk=True)
    (store,) = (cache / "webshop" / "stores").glob("*.sqlite")
    store.write_bytes(b"not a database" * 100)
    with pytest.raises(MixrouteError, match="is damaged.*remove it"):
        load_catalogue(folder, on_disk=True)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match="nowhere does not exist"):
        load_catalogue(tmp_path / "nowhere")
    (folder / "items_ins_v2.json").rename(folder / "items_ins_v2_1000.json")
    load_catalogue(folder)  # the small set's name
    (folder / "items_ins_v2_1000.json").unlink()
    with pytest.raises(MixrouteError, match=r"holds no items_ins_v2\.json"):
        load_catalogue(folder)


def test_two_small_sets_are_refused(folder: Path) -> None:
    (folder / "items_shuffle.json").rename(folder / "items_shuffle_1000.json")
    (folder / "items_shuffle_2000.json").write_bytes((folder / "items_shuffle_1000.json").read_bytes())
    with pytest.raises(MixrouteError, match="leave one of them"):
        load_catalogue(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "cut off or damaged after element"),
        (lambda _: "[]", "holds no products"),
        (lambda _: "{}", "no JSON array"),
        (lambda _: "[3]", "element 1 is no object"),
        (lambda _: '[{"name": "x"}]', "element 1: 'asin' is missing"),
        (lambda text: text.replace('"pricing": "$', '"pricing": "x', 1), "'pricing' is 'x.*not dollars"),
        (lambda text: text.replace('"customization_options": {', '"customization_options": [{', 1), "damaged"),
        (lambda text: text.replace('"full_description"', '"description"', 1), "'full_description' is missing"),
    ],
)
def test_damaged_products_are_named(folder: Path, change: Any, message: str) -> None:
    path = folder / "items_shuffle.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(MixrouteError, match=message) as raised:
        load_catalogue(folder)
    assert "items_shuffle.json" in str(raised.value)


def test_instructions_of_people_make_goals(folder: Path) -> None:
    product = json.loads((folder / "items_shuffle.json").read_text())[0]
    told = {"instruction": "I want it.", "instruction_attributes": ["soft"], "instruction_options": ["blue"]}
    without = {**told, "instruction_attributes": []}
    path = folder / "items_human_ins.json"
    path.write_text(json.dumps({product["asin"]: [told, without], "B000000000": [told]}))
    (goal,) = load_catalogue(folder).goals("human")
    assert (goal.asin, goal.attributes, goal.goal_options) == (product["asin"], ("soft",), ("blue",))
    assert goal.instruction_text.startswith("I want it")
    path.write_text(json.dumps({product["asin"]: [{"instruction": "I want it."}]}))
    with pytest.raises(MixrouteError, match="items_human_ins.json.*an instruction is damaged"):
        load_catalogue(folder)


def test_unknown_products_and_kinds_of_goals_are_named(folder: Path) -> None:
    catalogue = load_catalogue(folder)
    assert "B000000000" not in catalogue
    with pytest.raises(MixrouteError, match="has no B000000000"):
        catalogue.product("B000000000")
    with pytest.raises(MixrouteError, match="no goals 'made-up'"):
        catalogue.goals("made-up")
