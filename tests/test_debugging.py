"""What an author of a router sees when it fails: where, in the log and in the trace, and an exit code that says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.traces.store import find_runs, read_episodes
from tests.command import mixroute
from tests.small_suite import write_suite

BROKEN = """from mixroute import StepRouter

class Broken(StepRouter):
    def choose(self, step):
        if len(step.turns) == 1:
            return self.look_up(step)
        return "low"

    def look_up(self, step):
        return {}["weights"]
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_pool: Path) -> Path:
    (tmp_path / "mine.py").write_text(BROKEN)
    write_suite(tmp_path, tiny_pool, routers=["mine.py:Broken"], concurrency=1)
    return tmp_path


def test_a_failing_router_is_told_where_it_fails(folder: Path) -> None:
    done = mixroute("run", "suite.yaml", "--out", "runs", cwd=folder, code=1)
    place = "KeyError: 'weights' (mine.py, line 10, in look_up)"
    errors = [episode.error for episode in read_episodes(find_runs(folder / "runs")[0])]
    assert errors == [place] * 6
    shown = " ".join(done.stderr.split())
    assert re.search(r"test/\S+, step 2 ended in an error: KeyError: 'weights' \(mine\.py, line 10", shown)
    assert shown.count("return self.look_up(step)") == 1  # the traceback, once for the six episodes
    assert "every episode of" in shown


def test_a_run_of_which_some_episodes_end_well_is_no_failure(folder: Path) -> None:
    (folder / "mine.py").write_text(BROKEN.replace("len(step.turns) == 1", "step.rng.random() < 0.15"))
    mixroute("run", "suite.yaml", "--out", "runs", cwd=folder)
    assert 0 < sum(1 for episode in read_episodes(find_runs(folder / "runs")[0]) if episode.error) < 6


def test_fail_fast_stops_at_the_first_error_and_keeps_what_was_played(folder: Path) -> None:
    done = mixroute("run", "suite.yaml", "--out", "runs", "--fail-fast", cwd=folder, code=2)
    assert "--fail-fast" in done.stderr
    assert "ended in an error: KeyError: 'weights' (mine.py, line 10, in look_up)" in " ".join(done.stderr.split())
    assert len(list(read_episodes(find_runs(folder / "runs")[0]))) == 1


def test_state_that_a_router_keeps_on_itself_is_told(folder: Path) -> None:
    counting = BROKEN.replace("len(step.turns) == 1", "self.count()").replace(
        'return {}["weights"]',
        'return "high"\n\n    def count(self):\n        self.seen = getattr(self, "seen", 0) + 1\n',
    )
    (folder / "mine.py").write_text(counting)
    shown = " ".join(mixroute("run", "suite.yaml", "--out", "runs", cwd=folder).stderr.split())
    assert "router 'mine.py:Broken' changed its attribute 'seen' while it played" in shown
    stateless = counting.replace("self.seen = getattr", "seen = getattr")
    (folder / "mine.py").write_text(stateless)
    assert "changed its attribute" not in mixroute("run", "suite.yaml", "--out", "runs", cwd=folder).stderr
