"""``mixroute challenge`` with real models: what has learned the published games is refuted, what has not holds."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import mixroute
from harness.challenge.challenge import challenge_entry
from harness.challenge.claim import read_claim
from harness.cli import app
from harness.seeding import fresh_split
from harness.traces.evidence import entry_digest, read_evidence
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_episodes, read_meta
from mixroute import MixrouteError, RouterEntry, Suite, open_task
from tests.harness.challenge import doors
from tests.shared_data import REPOSITORY

PLANS = ["".join(plan) for plan in itertools.product("lh", repeat=3)]
SEED = "the commit that merges"


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """Published entries of the doors: the reference rows, honest rows, and one of a router that learned from runs."""
    folder = tmp_path_factory.mktemp("doors")
    suite = Suite.model_validate({
        "schema": 1, "name": "doors", "pool": str(tiny_pool),
        "tasks": [{"task": "doors", "split": "test", "calibration": {"split": "dev", "limit": 4}}],
        "routers": ["always-high", "always-low"],
    })  # fmt: skip
    tried = mixroute.run(suite, folder / "tried", routers=[f"schedule,plan={plan}" for plan in PLANS])
    for run in tried.folders:
        plan = read_meta(run).config["router_args"]["plan"]
        for episode in read_episodes(run):
            if episode.success:
                doors.LEARNED.setdefault(episode.steps[0].observation, plan)
    routers: list[str | RouterEntry] = [
        "always-high",
        "always-low",
        "memory",
        RouterEntry(router="random", seeds=[0, 1, 2]),
        RouterEntry(router="uncertainty", args={"target_share": 0.5}),
    ]
    for run in mixroute.run(suite, folder / "runs", routers=routers).folders:
        pack_run(run, folder / "entries")
    return folder / "entries"


def entry_of(entries: Path, router: str) -> Path:
    return next(folder for folder in find_runs(entries) if read_meta(folder).router == router)


def run_challenge(entries: Path, router: str, pool: Path, out: Path, *more: str) -> tuple[int, str]:
    arguments = [str(entry_of(entries, router)), "--pool", str(pool), "--out", str(out), "--games", "40", *more]
    found = CliRunner().invoke(app, ["challenge", *arguments], env={"COLUMNS": "160"})
    return found.exit_code, found.output


def test_a_router_that_learned_the_published_games_is_refuted(entries: Path, tiny_pool: Path, tmp_path: Path) -> None:
    claim = read_claim(entry_of(entries, "memory"), entries, str(tiny_pool))
    won, reference = (sum(played.success for played in row.played) for row in (claim.row, claim.reference))
    assert won >= reference + 10  # it does gain on the games that it has learned
    code, printed = run_challenge(
        entries, "memory", tiny_pool, tmp_path, "--seed", SEED, "--evidence", str(tmp_path / "evidence")
    )
    assert code == 1, printed
    assert "refuted" in printed
    entry = entry_of(entries, "memory")
    record = read_evidence(tmp_path / "evidence").challenges[entry_digest(entry)]
    assert (record.entry, record.seed, record.games, record.status) == (entry.name, SEED, 40, "refuted")
    assert record.p is not None
    assert record.p < 0.01
    assert record.claimed.mean is not None
    assert record.difference.mean is not None
    assert record.difference.mean < record.claimed.mean - 0.25


@pytest.mark.parametrize("router", ["always-low", "random", "uncertainty"])
def test_an_honest_row_holds(entries: Path, tiny_pool: Path, tmp_path: Path, router: str) -> None:
    code, printed = run_challenge(
        entries, router, tiny_pool, tmp_path, "--seed", SEED, "--evidence", str(tmp_path / "evidence")
    )
    assert code == 0, printed
    (record,) = read_evidence(tmp_path / "evidence").challenges.values()
    assert record.status == "holds"
    played = [read_meta(run) for run in find_runs(tmp_path) if read_meta(run).router == router]
    published = [read_meta(run) for run in find_runs(entries) if read_meta(run).router == router]
    assert sorted(meta.seed for meta in played) == sorted(meta.seed for meta in published)
    assert [meta.label for meta in played] == [meta.label for meta in published]
    for meta in played:  # thresholds are those of the entry, chosen on its development games
        assert meta.config["router_args"] == {**published[0].config["router_args"], **published[0].fitted}
        assert not meta.fitted


def test_a_seed_names_its_games_and_finished_ones_are_kept(entries: Path, tiny_pool: Path, tmp_path: Path) -> None:
    def challenge(seed: str) -> tuple[list[str], Any]:
        entry = entry_of(entries, "always-low")
        _, fresh, record = challenge_entry(
            entry, entries, tmp_path / "evidence", seed=seed, games=6, out=tmp_path, console=Console(quiet=True),
            pool=str(tiny_pool),
        )  # fmt: skip
        return fresh.router.meta.instances, record

    first, record = challenge("one")
    inodes = {path: path.stat().st_ino for path in tmp_path.glob("*/run.json")}
    again, same = challenge("one")
    assert (first, record) == (again, same)
    assert inodes == {path: path.stat().st_ino for path in tmp_path.glob("*/run.json")}  # resumed, not begun anew
    other, _ = challenge("two")
    published = set(read_meta(entry_of(entries, "always-low")).instances)
    assert len({*first, *other, *published}) == 6 + 6 + len(published)
    records = read_evidence(tmp_path / "evidence").challenges
    assert [one.seed for one in records.values()] == ["two"]  # the newest challenge of an entry stands


def edited(entries: Path, folder: Path, change: dict[str, Any], router: str = "random") -> Path:
    """A copy of the entries in which one run.json says something else, and the path of its entry."""
    shutil.copytree(entries, folder)
    entry = entry_of(folder, router)
    run = json.loads((entry / "run.json").read_text())
    for key, value in change.items():
        outer, _, inner = key.rpartition(".")
        (run[outer] if outer else run)[inner] = value
    (entry / "run.json").write_text(json.dumps(run))
    return entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.router": "mine.py:Router"}, "router 'mine.py:Router' is not installed here, and code that an entry"),
        (
            {"config.task": "theirs.py:Task"},
            "task 'theirs.py:Task' is not installed here, and code that an entry names",
        ),
        (
            {"config.router_args": {"checkpoint": "/their/weights"}},
            "router_args.checkpoint = '/their/weights' names a f",
        ),
        ({"config.router_args": {"p": {"file": ["x.json"]}}}, "router_args.p.file = 'x.json' names a file"),
        ({"config.task_args": {"../data": 1}}, "a key of task_args = '../data' names a file"),
        ({"fitted": {"weights": "tests"}}, "fitted.weights = 'tests' names a file"),
        ({"config.task": "alfworld"}, "no fresh games for task 'alfworld'"),
        ({"config.task": "webshop"}, "no fresh games for task 'webshop'"),
        ({"config.split": "dev"}, "it reports split 'dev' of 'doors', and fresh games are drawn as those of 'test'"),
        ({"protocol.step_cap": 9}, "protocol.step_cap is 9, and this version plays None"),
        ({"config": {}}, "'config' is not valid"),
        ({"group": "0" * 64}, "has no entry of always-high in the group"),
        ({"provenance.git": {"commit": SEED}}, "the entry was made at this commit"),
    ],
)
def test_what_cannot_be_challenged_is_refused(
    entries: Path,
    tiny_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    entry = edited(entries, tmp_path / "entries", change)
    with pytest.raises(MixrouteError) as error:
        challenge_entry(
            entry, entry.parent, tmp_path, seed=SEED, games=4, out=tmp_path / "out", console=Console(quiet=True),
            pool=str(tiny_pool),
        )  # fmt: skip
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_entrys_own_pool_file_is_not_opened(entries: Path) -> None:
    with pytest.raises(MixrouteError, match="pool 'tiny' is not a shipped one"):
        read_claim(entry_of(entries, "random"), entries)


def test_other_models_are_no_comparison(entries: Path, tiny_pool: Path, tmp_path: Path) -> None:
    cards = read_meta(entry_of(entries, "random")).models
    cards["low"] = {**cards["low"], "fingerprint": "0" * 64}
    shutil.copytree(entries, tmp_path / "entries")
    for folder in find_runs(tmp_path / "entries"):
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "models": cards}))
    with pytest.raises(MixrouteError, match="model 'low' has the fingerprint"):
        challenge_entry(
            entry_of(tmp_path / "entries", "random"), tmp_path / "entries", tmp_path, seed=SEED, games=4,
            out=tmp_path / "out", console=Console(quiet=True), pool=str(tiny_pool),
        )  # fmt: skip


def test_more_games_than_a_seed_gives_are_refused(entries: Path, tiny_pool: Path, tmp_path: Path) -> None:
    assert len(open_task("doors", split=fresh_split(SEED)).instances()) == 40
    with pytest.raises(MixrouteError, match="--games 41: a seed gives 40 games"):
        challenge_entry(
            entry_of(entries, "random"), entries, tmp_path, seed=SEED, games=41, out=tmp_path / "out",
            console=Console(quiet=True), pool=str(tiny_pool),
        )  # fmt: skip
