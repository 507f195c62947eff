"""Labels of forged entries: each kind of trick is found, and rows that it aims at are left alone where they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

import mixroute
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_meta
from harness.verify.entries import verify_entries
from harness.verify.labels import LABELS, check_labels, skeleton
from harness.verify.pools import Pools
from harness.verify.report import CheckResult
from mixroute import RouterEntry, Suite
from tests.harness.verify.editing import copy_inline, named_anew, read, write
from tests.shared_data import REPOSITORY

TRICKS = {
    "combining marks": "random\u0336\u0301",
    "Hangul filler": "\u3164",
    "a Hangul filler at the end": "always-high\u3164",
    "Cyrillic a": "\u0430lways-high",
    "variation selector": "always-high\ufe0f",
    "right-to-left override": "hgih-syawla\u202e",
    "no-break space": "always\u00a0high",
    "5,000 characters": "a" * 5000,
    "61 characters": "a" * 61,
    "empty": "",
    "blank": "  ",
    "a blank at its end": "random ",
    "line break": "random\nalways-high",
    "punctuation alone": "--",
    "capital I": "aIways-high",
    "digits": "a1ways-h1gh",
    "other case": "Always-High",
    "a space for a dash": "always high",
    "a dash more": "always-high-",
    "the same": "always-high",
    "v v": "alvvays-high",
    "name of a router that has no row": "phase",
    "like that of a row with a label": "honest 3O%",
}
PLAIN = {"another number": "honest 31%", "another share": "honest 3.0%", "60 characters": "b" * 60}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> dict[str, CheckResult]:
    """What verification says of the label of each entry of one folder, by kind of trick or label."""
    folder = tmp_path_factory.mktemp("labels")
    suite = Suite.model_validate({
        "schema": 1, "name": "labels", "pool": str(tiny_pool),
        "tasks": [{"task": "alfworld-gen", "split": "test", "limit": 1, "args": {"step_cap": 2}}],
        "routers": [
            "always-high",
            RouterEntry(router="random", args={"p": 0.3}, label="honest 30%", seeds=[0, 1]),
        ],
    })  # fmt: skip
    for run in mixroute.run(suite, folder / "runs").folders:
        pack_run(run, folder / "entries")
    honest = find_runs(folder / "entries")
    drawn = next(entry for entry in honest if read_meta(entry).router == "random")
    names = {entry: f"{read_meta(entry).label} of seed {read_meta(entry).seed}" for entry in honest}
    for number, (kind, label) in enumerate({**TRICKS, **PLAIN}.items()):
        copy_inline(drawn, folder / str(number))
        entry = read(folder / str(number))
        entry["run"]["label"], entry["run"]["config"]["router_args"] = label, {"p": (1 + number) / 100}
        named_anew(entry)
        write(entry, folder / str(number))
        names[folder / str(number)] = kind
    return {names[entry]: check.result() for entry, check in check_labels(list(names)).items()}


@pytest.mark.parametrize("kind", TRICKS)
def test_a_label_that_deceives_fails(found: dict[str, CheckResult], kind: str) -> None:
    assert found[kind].status == "failed"
    assert all(text.isascii() and text.isprintable() and len(text) < 300 for text in found[kind].details)


@pytest.mark.parametrize("kind", [*PLAIN, "always-high of seed 0"])
def test_an_honest_label_passes(found: dict[str, CheckResult], kind: str) -> None:
    """The name of a router is its own, whoever else claims it."""
    assert found[kind].status == "ok", found[kind].details


@pytest.mark.parametrize("seed", [0, 1])
def test_of_two_labels_that_look_alike_neither_is_believed(found: dict[str, CheckResult], seed: int) -> None:
    (detail,) = found[f"honest 30% of seed {seed}"].details
    assert "'honest 30%' looks like that of" in detail


def test_only_a_published_label_is_checked(tmp_path: Path, tiny_pool: Path, tiny_pools: Pools) -> None:
    suite = Suite.model_validate({
        "schema": 1, "name": "own", "pool": str(tiny_pool),
        "tasks": [{"task": "alfworld-gen", "split": "test", "limit": 1, "args": {"step_cap": 1}}],
        "routers": [RouterEntry(router="always-high", label="\u00e0 moi")],
    })  # fmt: skip
    (run,) = mixroute.run(suite, tmp_path).folders
    for own, expected in ((False, {LABELS}), (True, set())):
        (verdict,) = verify_entries([run], pools=tiny_pools, own=own)
        assert {result.check for result in verdict.results if result.status == "failed"} == expected


def test_numbers_that_differ_never_look_alike() -> None:
    labels = [f"k={number}" for number in range(200)] + [f"t={number / 100}" for number in range(100)]
    assert len({skeleton(label) for label in labels}) == len(labels)


def test_the_published_labels_pass() -> None:
    checks = check_labels(find_runs(REPOSITORY / "results" / "entries"))
    assert len(checks) > 100
    assert [(folder.name, check.result()) for folder, check in checks.items() if check.failed] == []
