"""Roles: what routers declare, and what a run records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.board.table import build_board
from harness.contracts import role_of
from harness.data import RouterRole
from harness.plugins import open_router
from harness.registry import routers
from harness.traces.store import find_runs, read_meta
from mixroute import MixrouteError, StepRouter
from tests.harness.board.builders import Play, Run, write_run
from tests.shared_data import REPOSITORY


class Plain(StepRouter):
    def choose(self, step: Any) -> str:
        return "low"


class Learned(Plain):
    def trained_on(self) -> list[str]:
        return []


class Drawn(Learned):
    role = "random"


def test_the_default_is_trained_for_what_names_its_training_instances_else_baseline() -> None:
    assert [role_of(router) for router in (Plain(), Learned(), Drawn())] == ["baseline", "trained", "random"]


def test_a_wrong_role_is_reported_when_the_router_is_opened(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from mixroute import StepRouter\n"
        "class Mine(StepRouter):\n"
        "    role = 'best'\n"
        "    def choose(self, step):\n"
        "        return 'low'\n"
    )
    with pytest.raises(MixrouteError, match="Mine has role = 'best': set one of baseline, random, oracle, trained"):
        open_router(f"{tmp_path}/mine.py:Mine")


@pytest.mark.parametrize("name", [name for name in routers.names() if routers.is_shipped(name)])
def test_every_shipped_router_declares_its_role(name: str) -> None:
    assert routers.get(name).role in get_args(RouterRole)


def test_published_runs_have_the_role_that_their_router_declares() -> None:
    published = {meta.router: meta for meta in map(read_meta, find_runs(REPOSITORY / "results/entries"))}
    for name, meta in published.items():
        if name != "majority-vote":  # a baseline now; these entries are from before it declared a role
            assert meta.role == routers.get(name).role, name


def test_the_recorded_role_decides_and_not_the_name(tmp_path: Path) -> None:
    games = [f"{place:02}" for place in range(20)]
    coin = Run("coin", {game: Play("hl", success=game < "10") for game in games}, role="trained")
    write_run(tmp_path / "trained/drawn", coin)
    write_run(tmp_path / "random/drawn", replace(coin, role="random"))
    for folder in ("trained", "random"):
        write_run(tmp_path / folder / "dmr", Run("dmr", {game: Play("hl") for game in games}))
    assert compared(tmp_path / "trained") == set()
    assert compared(tmp_path / "random") == {"matched random", "best baseline"}


def compared(folder: Path) -> set[str]:
    return {one.kind for row in build_board(find_runs(folder)).rows if row.router == "dmr" for one in row.against}
