"""The completion cache: exact, shared by processes, bounded, and harmless where its file is damaged."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.backends.completion_cache import CompletionCache, completion_key
from harness.backends.transformers import TransformersBackend
from harness.data import Completion, Timing, Token
from tests.examples import parser_examples

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def completion(text: str = "look", value: float = 0.1) -> Completion:
    tokens = (Token(7, -value, value, 1 - value), Token(2, 0.0, 0.0, 1.0))
    return Completion("high", text, tokens, 1, "stop", 12, 4, Timing(0.1, 0.2, 0.3, 0.6))


def key(number: int) -> bytes:
    return completion_key(TransformersBackend, "weights", [number])


def ask(store: CompletionCache, number: int, answer: Completion | None) -> Completion:
    async def compute() -> Completion:
        assert answer is not None, "nothing should be computed"
        return answer

    return asyncio.run(store.get_or_compute(key(number), compute))


def test_a_completion_is_computed_once_and_comes_back_with_its_time(tmp_path: Path) -> None:
    for computed in (completion(), None):  # the second time the file is there
        store = CompletionCache(tmp_path / "a.sqlite")
        assert ask(store, 1, computed) == completion()
        again = ask(store, 1, None)
        assert (again, again.timing, again.reused) == (completion(), completion().timing, True)
        store.close()


@given(value=FLOATS, text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_figure_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, value: float, text: str
) -> None:
    store = CompletionCache(tmp_path_factory.mktemp("completions") / "a.sqlite")
    ask(store, 1, completion(text, value))
    assert ask(store, 1, None) == completion(text, value)
    store.close()


def test_a_key_covers_all_that_a_completion_depends_on() -> None:
    questions = [("w", [1]), ("v", [1]), ("w", [2]), ("w", [1, 2]), ("w", [[1], "\n"]), ("w", [[1], "n"])]
    assert len({completion_key(TransformersBackend, *question) for question in questions}) == len(questions)


PLUG_IN = "class Backend:\n    answer = 'left'\n"
DERIVED = """
import importlib, os
Base = importlib.import_module(os.environ["PLUGGED"]).Backend
class Backend(Base): ...
"""


def plug_in(path: Path, source: str = PLUG_IN) -> type[object]:
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return registry.backends.get(f"{path}:Backend")


def test_a_key_covers_the_file_of_a_plug_in(tmp_path: Path) -> None:
    first = completion_key(plug_in(tmp_path / "one" / "backend.py"), "w", 1)
    same = completion_key(plug_in(tmp_path / "two" / "backend.py"), "w", 1)
    edited = completion_key(plug_in(tmp_path / "three" / "backend.py", PLUG_IN.replace("left", "right")), "w", 1)
    assert first == same
    assert len({first, edited, completion_key(TransformersBackend, "w", 1)}) == 3


def test_a_key_covers_the_package_and_the_base_class_of_a_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = []
    for name, helper in (("plugged_a", "x = 1\n"), ("plugged_b", "x = 1\n"), ("plugged_c", "x = 2\n")):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "helper.py").write_text(helper)
        (tmp_path / name / "inner" / "__init__.py").write_text(PLUG_IN)
        backend = importlib.import_module(f"{name}.inner").Backend
        monkeypatch.setenv("PLUGGED", f"{name}.inner")
        derived = plug_in(tmp_path / f"derived_{name}" / "backend.py", DERIVED)
        keys.append((completion_key(backend, "w", 1), completion_key(derived, "w", 1)))
    first, same, edited = keys
    assert first == same
    assert first[0] != edited[0]
    assert first[1] != edited[1]


def test_a_plug_in_without_a_file_finds_nothing_of_another_process() -> None:
    program = (
        "from harness.backends.completion_cache import completion_key\nclass Backend: ...\n"
        "print(*(completion_key(Backend, 'w', 1).hex() for _ in range(2)))"
    )
    command = [sys.executable, "-c", program]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    (one, same), (two, _) = (output.split() for output in outputs)
    assert one == same != two


def test_a_new_cache_replaces_the_file_of_older_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path))
    old = [tmp_path / f"answers.sqlite{suffix}" for suffix in ("", "-wal", "-shm")]
    for path in old:
        path.write_bytes(b"old")
    CompletionCache(tmp_path / "elsewhere.sqlite").close()
    assert all(path.exists() for path in old)
    CompletionCache().close()
    assert not any(path.exists() for path in old)
    assert (tmp_path / "completions.sqlite").exists()


def test_of_several_that_ask_at_once_one_computes(tmp_path: Path) -> None:
    store = CompletionCache(tmp_path / "a.sqlite")
    computed = []

    async def slow() -> Completion:
        computed.append(1)
        await asyncio.sleep(0.05)
        return completion()

    async def together() -> list[Completion]:
        return await asyncio.gather(*(store.get_or_compute(key(1), slow) for _ in range(8)))

    answers = asyncio.run(together())
    assert len(computed) == 1
    assert sorted(answer.reused for answer in answers) == [False] + [True] * 7


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_who_waits_for_another_does_not_end_with_it(tmp_path: Path, end: str) -> None:
    store = CompletionCache(tmp_path / "a.sqlite")

    async def failing() -> Completion:
        await asyncio.sleep(0.05 if end == "fails" else 60)
        raise RuntimeError("out of memory")

    async def good() -> Completion:
        return completion()

    async def together() -> Completion:
        first = asyncio.create_task(store.get_or_compute(key(1), failing))
        await asyncio.sleep(0)
        second = asyncio.create_task(store.get_or_compute(key(1), good))
        await asyncio.sleep(0)
        if end == "is cancelled":
            first.cancel()
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await first
        return await second

    assert not asyncio.run(together()).reused


def test_who_waits_can_be_cancelled(tmp_path: Path) -> None:
    store = CompletionCache(tmp_path / "a.sqlite")

    async def together() -> Completion:
        over = asyncio.Event()

        async def slow() -> Completion:
            await over.wait()
            return completion()

        first = asyncio.create_task(store.get_or_compute(key(1), slow))
        await asyncio.sleep(0)
        second = asyncio.create_task(store.get_or_compute(key(1), slow))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        over.set()
        return await first

    assert asyncio.run(together()) == completion()


def test_the_file_stays_within_its_bound_and_keeps_what_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000]
    monkeypatch.setattr("harness.backends.completion_cache.time.time", lambda: clock[0])
    store = CompletionCache(tmp_path / "a.sqlite", max_bytes=200_000)
    for number in range(300):
        clock[0] += 4000
        ask(store, number, completion("x" * 2000))
        ask(store, 0, None)  # used all along
    ask(store, 299, None)
    with pytest.raises(AssertionError, match="nothing should be computed"):
        ask(store, 1, None)
    store.close()
    assert (tmp_path / "a.sqlite").stat().st_size < 250_000


def test_processes_share_the_file(tmp_path: Path) -> None:
    source = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom harness.backends.completion_cache import CompletionCache\n"
        "from tests.harness.backends.test_completion_cache import completion, key\n"
        "store = CompletionCache(Path(sys.argv[1]))\nasync def compute(): return completion()\n"
        "for number in range(200): asyncio.run(store.get_or_compute(key(number), compute))\n"
    )
    path = tmp_path / "a.sqlite"

    async def two() -> list[int]:
        running = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", source, str(path), cwd=Path.cwd())
            for _ in range(2)
        ]
        return [await process.wait() for process in running]

    assert asyncio.run(two()) == [0, 0]
    store = CompletionCache(path)
    for number in range(200):
        assert ask(store, number, None) == completion()


@pytest.mark.parametrize("damage", ["no database", "half a database", "no folder"])
def test_a_damaged_file_is_reported_and_not_used(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.sqlite"
    store = CompletionCache(path)
    for number in range(100):
        ask(store, number, completion("x" * 500))
    store.close()
    if damage == "no database":
        path.write_bytes(b"no database at all, but long enough to be looked at" * 10)
    elif damage == "half a database":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path = path / "below-a-file.sqlite"
    broken = CompletionCache(path)
    answers = [ask(broken, number, completion("new")) for number in range(100)]
    assert any(answer.text == "new" for answer in answers)
    assert "completions are not cached" in caplog.text
    assert str(path) in caplog.text
    assert "MIXROUTE_CACHE" in caplog.text  # the way out where the file system has no locks


def edit(path: Path, change: str, *values: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute(change, values)
    database.close()


DAMAGES: dict[str, tuple[Any, ...]] = {
    "a time": ("UPDATE completions SET completion = replace(completion, ?, ?)", b"0", b"1"),
    "another key's row": ("UPDATE completions SET completion = (SELECT max(completion) FROM completions)",),
    "text": ("UPDATE completions SET completion = 'look'",),
    "nothing": ("UPDATE completions SET completion = NULL",),
    "a number": ("UPDATE completions SET completion = 7",),
    "no checksum": ("UPDATE completions SET completion = x''",),
    "a value of a version without checksums": ("UPDATE completions SET completion = ?", b"\x81\xa1a\x01"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_row_is_computed_again_and_said_once(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.sqlite"
    store = CompletionCache(path)
    texts = [f"look {number} 000" for number in range(5)]
    for number, text in enumerate(texts):
        ask(store, number, completion(text))
    store.close()
    edit(path, *DAMAGES[damage])
    again = CompletionCache(path)
    answers = [ask(again, number, completion(texts[number])) for number in range(5)]
    assert [answer.text for answer in answers] == texts
    assert sum(not answer.reused for answer in answers) >= 4
    assert caplog.text.count("is damaged") == 1
    assert str(path) in caplog.text
    assert all(ask(again, number, None).text == texts[number] for number in range(5))  # stored anew
    again.close()


@parser_examples(25)
@given(data=st.data())
def test_a_damaged_file_never_gives_another_answer_or_time(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("completions") / "a.sqlite"
    store = CompletionCache(path)
    stored = [completion(f"look {number}", number / 7) for number in range(8)]
    for number, one in enumerate(stored):
        ask(store, number, one)
    store.close()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    damaged = CompletionCache(path)
    for number, one in enumerate(stored):
        answer = ask(damaged, number, one)
        assert (answer, answer.timing) == (one, one.timing)
    damaged.close()
