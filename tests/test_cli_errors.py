"""Bad input on the command line: one line that names it, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import mixroute
from tests.small_suite import SUITE, write_suite


def with_task(**changes: object) -> dict[str, Any]:
    return {"tasks": [{**SUITE["tasks"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rooters": []}, "suite.yaml: unknown key 'rooters': did you mean 'routers'?"),
        ({"routers": ["allways-low"]}, "unknown router 'allways-low': did you mean 'always-low'?"),
        ({"routers": ["stuck", "stuck"]}, "two routers share the label 'stuck'"),
        (
            {"routers": [{"router": "stuck", "tasks": ["webshop"]}]},
            "router 'stuck' is to play task 'webshop': the suite has alfworld-gen",
        ),
        ({"pool": "smolm2"}, "unknown pool 'smolm2': did you mean 'smollm2'?"),
        ({"pool": "none.yaml"}, "pool file none.yaml does not exist: give another path, or make it"),
        ({"mode": "fast"}, "suite.yaml: key 'mode' = 'fast'"),
        (with_task(task="alfwrld"), "unknown task 'alfwrld': did you mean 'alfworld'?"),
        (with_task(split="tset"), "tset"),
        (with_task(args={"step_cap": 2.5}), "task 'alfworld-gen': step_cap = 2.5: input should be a valid integer"),
        (with_task(args={"dialect": 0.4}), "dialect = 0.4: input should be a valid string (put it in quotes)"),
        (with_task(args={"split": "dev"}), "'split' is a key of the task itself"),
        (with_task(calibration=None), "give the suite's task a calibration"),
        ({"seeds": [0, 0]}, "seeds [0, 0] repeat one"),
        (with_task(args={"stepcap": 3}), "takes no argument 'stepcap': did you mean 'step_cap'?"),
        (with_task(calibration={"split": "test"}), "calibration split 'test' of task 'alfworld-gen' is the split"),
        (with_task(task="alfworld", split="valid_seen", args={"data": "nowhere"}), "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, tiny_pool: Path, changes: dict[str, Any], message: str
) -> None:
    write_suite(tmp_path, tiny_pool, **changes)
    result = mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path, code=2)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_repeated_key_is_refused(tmp_path: Path, tiny_pool: Path) -> None:
    path = write_suite(tmp_path, tiny_pool)
    path.write_text(path.read_text() + "\nrouters: [always-low]\n")
    assert "key 'routers' is given twice" in mixroute("run", "suite.yaml", cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--router", "random,p=[1"), "error: --router random,p=[1: '[1' is not a value"),
        (("--router", "random,p"), "error: --router random,p: 'p' is not key=value"),
        (("--out", "suite.yaml"), "error: suite.yaml: File exists"),
        (("--seed", "010"), "'010' is no whole number without leading zeros"),
        (("--limit", "010"), "'010' is no whole number without leading zeros"),
        (("--limit", "0"), "key 'tasks.0.limit' = 0"),
        (("--concurrency", "1e3"), "'1e3' is no whole number"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, tiny_pool: Path, arguments: tuple[str, str], message: str) -> None:
    write_suite(tmp_path, tiny_pool)
    err = mixroute("run", "suite.yaml", *arguments, cwd=tmp_path, code=2).stderr
    assert message in err
    assert "Traceback" not in err


def test_unreadable_weights_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "pool.yaml").write_text(
        yaml.safe_dump({"schema": 1, "name": "p", "models": {"high": {"weights": "weights"}}})
    )
    write_suite(tmp_path, tmp_path / "pool.yaml", routers=["always-high"])
    result = mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path, code=2)
    assert "error: weights of model 'high'" in result.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_a_board_of_nothing_says_so(tmp_path: Path) -> None:
    assert "holds no run" in mixroute("board", "empty", cwd=tmp_path, code=2).stderr


def test_home_is_expanded_where_the_shell_leaves_it(tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tiny_pool, routers=["always-low"])
    env = {"HOME": str(tmp_path)}
    mixroute("run", "~/suite.yaml", "--out=~/runs", "--plan", cwd=tmp_path, env=env)
    assert (tmp_path / "runs" / "plan.json").exists()
