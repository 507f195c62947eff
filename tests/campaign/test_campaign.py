"""``make campaign``: no kill, no full disk and no second process loses a finished episode or changes a result."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from harness.files import write_atomically
from tasks.webshop.generate import Generated, write_files
from tests.campaign.children import Child, Killer, command, to_its_end
from tests.campaign.work import Kind, episodes, files, kinds, start_again, traces
from tests.shared_data import REPOSITORY
from tests.small_suite import write_suite

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CAMPAIGN_KILLS", "1000"))
SEED = os.environ.get("CAMPAIGN_SEED", "0")
FIGURES = REPOSITORY / "runs" / "campaign"
NAMES = ["run", "board", "pack", "label", "train dmr", "conversion of weights", "WebShop's store"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder on a disk; pytest keeps its own of three runs, and this one grows large."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def played(folder: Path, tiny_pool: Path) -> Path:
    """Finished runs."""
    write_suite(folder, tiny_pool)
    to_its_end(command("run", "suite.yaml", "--out", "played"), folder)
    return folder / "played"


@pytest.fixture(scope="module")
def work(folder: Path, tiny_pool: Path, tiny_weights: Path, played: Path) -> dict[str, Kind]:
    """All kinds of work, by name."""
    _import_everything()
    products = write_files(Generated("dev", 60), folder / "products")
    found = {kind.name: kind for kind in kinds(tiny_pool, tiny_weights, played, products)}
    assert list(found) == NAMES
    return found


def _import_everything() -> None:
    for name in (
        "compressed_tensors.quantization",
        "harness.backends.transformers",
        "harness.cli",
        "routers.dmr.train",
    ):
        import_module(name)
    import_module("transformers").LlamaForCausalLM  # noqa: B018 - it imports what is asked for


def note(name: str, **figures: object) -> None:
    """Write the figures of a test, from which docs/reliability.md is made."""
    content = {"name": name, "seed": SEED, **figures}
    write_atomically(FIGURES / f"{name.replace(' ', '-')}.json", json.dumps(content).encode() + b"\n")


@pytest.mark.parametrize("name", NAMES)
def test_kills_lose_nothing_and_change_nothing(name: str, work: dict[str, Kind], folder: Path) -> None:
    kind = work[name]
    place = folder / "work"
    start_again(place, kind)
    seconds = to_its_end(kind.work(place), place)
    expected = dict(kind.left(place))
    assert expected
    killer = Killer(seconds, random.Random(f"{SEED} {name}"))
    kept = 0
    while killer.kills < KILLS * kind.share:
        start_again(place, kind)
        for _ in range(killer.rng.randint(1, 5)):
            before = kind.done(place)
            killer.disturb(kind.work(place), place)
            after = kind.done(place)
            assert before.items() <= after.items(), "a finished episode was lost or changed"
            kept += len(before)
        to_its_end(kind.work(place), place)
        assert kind.left(place) == expected
        # After each trial: what was found stands if the campaign is stopped.
        note(f"kills of {name}", kills=killer.kills, trials=killer.trials, episodes=kept, seconds=round(seconds, 1))


def test_two_processes_share_a_cache_and_are_killed(folder: Path, tiny_pool: Path, played: Path) -> None:
    expected = traces(played)
    rng = random.Random(f"{SEED} two")
    kills = trials = 0
    while kills < KILLS * 0.05:
        shared = folder / "shared"
        shutil.rmtree(folder / "one", ignore_errors=True)
        shutil.rmtree(folder / "two", ignore_errors=True)
        shutil.rmtree(shared, ignore_errors=True)
        places = [folder / "one", folder / "two"]
        env = {"MIXROUTE_CACHE": str(shared)}
        for place in places:
            place.mkdir()
            write_suite(place, tiny_pool)
        for _ in range(2):
            children = [Child(command("run", "suite.yaml", "--out", "runs"), place, env) for place in places]
            codes = [child.code(rng.uniform(0, 10)) for child in children]
            assert set(codes) <= {None, 0}
            kills += codes.count(None)
        children = [Child(command("run", "suite.yaml", "--out", "runs"), place, env) for place in places]
        assert [child.code() for child in children] == [0, 0]
        assert [traces(place / "runs") for place in places] == [expected, expected]
        trials += 1
        note("kills of two runs with one cache", kills=kills, trials=trials)


def test_a_full_disk_is_named_and_loses_nothing(folder: Path, tiny_pool: Path, played: Path) -> None:
    expected = traces(played)
    rng = random.Random(f"{SEED} full")
    stopped = trials = 0
    largest = max(path.stat().st_size for path in played.rglob("episodes.jsonl"))
    for _ in range(max(3, KILLS // 50)):
        place = folder / "full"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        write_suite(place, tiny_pool)
        run = command("run", "suite.yaml", "--out", "runs")
        code = Child(run, place, largest=rng.randrange(1, largest)).code()
        before = episodes(place)
        log = (place / "log").read_text(errors="replace")
        assert "Traceback" not in log, log[-5000:]
        if code != 0:
            stopped += 1
            assert str(place.name) in log or "runs" in log or "cache" in log, log[-2000:]
        to_its_end(run, place)
        assert before.items() <= episodes(place).items()
        assert traces(place / "runs") == expected
        trials += 1
    note("full disk", trials=trials, stopped=stopped)


def test_a_folder_that_may_not_be_written_is_named(folder: Path, tiny_pool: Path) -> None:
    place = folder / "read-only"
    place.mkdir()
    write_suite(place, tiny_pool)
    (place / "runs").write_text("no folder")
    assert Child(command("run", "suite.yaml", "--out", "runs"), place).code() not in (None, 0)
    log = (place / "log").read_text()
    assert "runs" in log
    assert "Traceback" not in log
    assert files(place).keys() >= {"suite.yaml"}
