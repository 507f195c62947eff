"""Names become classes, and mistakes become one clear line."""

from pathlib import Path

import pytest

from mixroute import MixrouteError, Step, StepRouter, open_router, open_task, register_router

PLUGIN = '''
from mixroute import StepRouter

class Mine(StepRouter):
    """Mine."""
    def __init__(self, k: int = 1):
        self.k = k
    def choose(self, step):
        return "high"

class NotARouter:
    """It has no act."""
'''


def test_a_decorated_class_is_found_by_name() -> None:
    @register_router("test-decorated")
    class Decorated(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

    assert isinstance(open_router("test-decorated"), Decorated)
    with pytest.raises(MixrouteError, match="router 'test-decorated' is already"):

        @register_router("test-decorated")
        class Other(StepRouter):
            def choose(self, step: Step) -> str:
                return "low"


def test_a_class_in_a_file_is_found_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    router = open_router(f"{path}:Mine", k=3)
    assert (type(router).__name__, router.k) == ("Mine", 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("allways-high", {}, "unknown router 'allways-high': did you mean 'always-high'?"),
        ("zzzzzz", {}, "unknown router 'zzzzzz': known: agreement-oracle, "),
        ("every-k", {"K": 3}, "router 'every-k' takes no argument 'K': it takes: k"),
        ("uncertainty", {"treshold": 3}, "takes no argument 'treshold': did you mean 'threshold'?"),
        ("every-k", {"k": 0}, "router 'every-k' refuses its arguments {'k': 0}: k must be 1 or more"),
        ("nowhere.py:Mine", {}, "router file nowhere.py does not exist"),
        ("{folder}/mine.py:Yours", {}, "has no class 'Yours'"),
        ("{folder}/mine.py:NotARouter", {}, "has no 'act' and 'granularity'"),
        ("{folder}/broken.py:Mine", {}, "fails on import: ModuleNotFoundError"),
    ],
)
def test_mistakes_are_named_with_their_fix(
    tmp_path: Path, name: str, arguments: dict[str, object], message: str
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(MixrouteError) as raised:
        open_router(name.format(folder=tmp_path), **arguments)
    assert message in str(raised.value)


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(MixrouteError, match="unknown task 'alfwrld': did you mean 'alfworld'?"):
        open_task("alfwrld")
