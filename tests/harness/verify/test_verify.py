"""Honest entries pass, and every way to cheat that we know of is caught, each by the check that should."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.traces.contamination import instance_key, write_seen
from harness.traces.store import find_runs, read_meta
from harness.verify.entries import verify_entries
from harness.verify.entry import verify_entry
from harness.verify.pools import Pools
from tests.command import mixroute
from tests.harness.verify.cheats import CHEATS, MODELS, other_threshold, reward
from tests.harness.verify.editing import Entry, copy_inline, failed, named_anew, read, write


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    suite = {
        "schema": 1,
        "name": "honest",
        "pool": str(tiny_pool),
        "tasks": [
            {"task": "alfworld-gen", "split": "test", "limit": 4, "args": {"step_cap": 5},
             "calibration": {"split": "dev", "limit": 2}}
        ],
        "routers": ["always-high", {"router": "random", "args": {"p": 0.5}}, {"router": "uncertainty"}],
    }  # fmt: skip
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", "suite.yaml", "--out", "runs", cwd=folder)
    mixroute("pack", "runs", "--out", "entries", cwd=folder)
    return folder / "entries"


def of_router(entries: Path, router: str) -> Path:
    return next(folder for folder in find_runs(entries) if read_meta(folder).router == router)


def test_honest_entries_pass(entries: Path, tiny_pool: Path) -> None:
    done = mixroute("verify", "entries", "--pool", tiny_pool, "--json", "verdicts.json", cwd=entries.parent)
    assert done.stdout.count("ok  ") == 3
    assert len(json.loads((entries.parent / "verdicts.json").read_text())) == 3


@pytest.mark.parametrize(("router", "cheat", "caught"), CHEATS)
def test_a_cheat_is_caught(
    entries: Path, tiny_pools: Pools, tmp_path: Path, router: str, cheat: Callable[[Entry], None], caught: str
) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, router), folder)
    entry = read(folder)
    cheat(entry)
    write(entry, folder)
    assert caught in failed(folder, tiny_pools)


def test_smaller_weights_of_the_same_bits_show_when_the_models_are_loaded(
    entries: Path, tiny_pools: Pools, tmp_path: Path
) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    entry = read(folder)
    card = entry["run"]["models"]["low"]
    card["weight_bytes"], card["parameters"] = card["weight_bytes"] // 2, card["parameters"] // 2
    card["bits"] = round(8 * card["weight_bytes"] / card["parameters"], 3)
    write(entry, folder)
    (verdict,) = verify_entries([folder], load_models=True, pools=tiny_pools)
    (models,) = [f for f in verdict.results if f.check == MODELS]
    assert models.status == "failed"


def test_an_entry_on_what_was_trained_on_is_caught(entries: Path, tiny_pools: Pools, tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    write_seen(folder, [instance_key("alfworld-gen", read_meta(folder).instances[0])])
    assert failed(folder, tiny_pools) == {"nothing was trained on what is reported"}
    (folder / "trained_on.txt.xz").unlink()
    assert failed(folder, tiny_pools) == {"the files are whole and can be read"}


def test_a_copy_under_another_name_is_caught(entries: Path, tiny_pools: Pools, tmp_path: Path) -> None:
    honest = of_router(entries, "always-high")
    copied = tmp_path / "copy"
    copy_inline(honest, copied)
    entry = read(copied)
    entry["run"]["label"] = entry["run"]["router"] = entry["run"]["config"]["router"] = "my-new-router"
    named_anew(entry)
    write(entry, copied)
    first, second = verify_entries([honest, copied], pools=tiny_pools)
    assert first.status == "ok"
    assert "it is no copy of another entry" in {f.check for f in second.results if f.status == "failed"}
    # Alone, it fails as well: nothing is known of its router.
    assert failed(copied, tiny_pools) == {"it names nothing but what is shipped or installed"}


def test_a_router_that_was_edited_since_is_judged_by_what_it_decides(
    entries: Path, tiny_pools: Pools, tmp_path: Path
) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "uncertainty"), folder)
    entry = read(folder)
    entry["run"]["provenance"]["router"]["sha256"] = "0" * 64
    write(entry, folder)
    assert verify_entry(folder, pools=tiny_pools).status == "ok"
    other_threshold(entry)
    write(entry, folder)
    verdict = verify_entry(folder, pools=tiny_pools)
    assert verdict.status == "failed"
    assert any("is not the one that was run" in text for result in verdict.results for text in result.details)


def test_a_pool_is_opened_by_its_name_alone(entries: Path, tmp_path: Path, tiny_pool: Path) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    (reason,) = [text for result in verify_entry(folder).results for text in result.details]
    assert "pool 'tiny' is not shipped: give its file with --pool" in reason
    entry = read(folder)
    entry["run"]["pool"] = entry["run"]["config"]["pool"] = str(tiny_pool)
    named_anew(entry)
    write(entry, folder)
    assert failed(folder) == {"it names nothing but what is shipped or installed"}


@pytest.mark.parametrize("place", ["router", "seed", "router_args.k", "router_args"])
def test_hashes_of_files_that_no_setting_names_are_caught(
    entries: Path, tmp_path: Path, place: str, tiny_pools: Pools
) -> None:
    """Such a hash would make another run of the same settings."""
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    entry = read(folder)
    entry["run"]["content"] = {place: "0" * 64}
    named_anew(entry)
    write(entry, folder)
    assert failed(folder, tiny_pools) == {"name and hashes are those of the content"}


@pytest.mark.parametrize("kind", ["router", "task"])
def test_code_of_an_entry_is_not_run(entries: Path, tiny_pools: Pools, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Evil: pass\n")
    entry = read(folder)
    entry["run"]["config"][kind] = f"{tmp_path}/evil.py:Evil"
    if kind == "router":
        entry["run"]["router"] = entry["run"]["config"]["router"]
    named_anew(entry)
    write(entry, folder)
    assert verify_entry(folder, pools=tiny_pools).status != "ok"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["run.json", "episodes.jsonl.xz", "timings.jsonl.xz", "trained_on.txt.xz"])
def test_damaged_files_are_findings(entries: Path, tiny_pools: Pools, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "entry"
    copy_inline(of_router(entries, "random"), folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert failed(folder, tiny_pools) == {"the files are whole and can be read"}


def test_the_command_fails_on_a_cheat_and_says_why(entries: Path, tiny_pools: Pools, tmp_path: Path) -> None:
    shutil.copytree(entries, tmp_path / "entries")
    folder = of_router(tmp_path / "entries", "random")
    entry = read(folder)
    reward(entry)
    entry["episodes"][0]["steps"][0]["text"] = "\x1b[2J<script>alert(1)</script>[bold]"
    write(entry, folder)
    done = mixroute("verify", "entries", cwd=tmp_path, code=1)
    assert "failed: the environment answers the actions as the trace says" in done.stdout
    assert "\x1b[2J" not in done.stdout
