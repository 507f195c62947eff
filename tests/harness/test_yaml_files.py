"""YAML that people write: numbers as YAML 1.2 has them, what can be read in two ways refused, damage named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from harness.config import load_yaml
from harness.pool import Pool, load_pool
from harness.suite import Suite, load_suite, parse_router
from harness.yaml_files import parse_yaml
from mixroute import MixrouteError
from tests.examples import parser_examples

SUITE = """schema: 1
name: s
pool: pool.yaml
tasks:
  - {task: arith-gen, split: dev, limit: 1}
routers:
  - {router: random, label: a, args: {p: 0.5}}
seeds: [0]
temperature: 0.5
"""
POOL = "schema: 1\nname: p\nmodels:\n  high: {weights: some/name}\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1e3", 1000.0), ("-1E+2", -100.0), (".5e-1", 0.05), ("1.5e3", 1500.0), ("+2.e1", 20.0),
        ("0", 0), ("-7", -7), ("0.5", 0.5), ("0x10", 16), ("e3", "e3"), ("1e", "1e"), ("1e-", "1e-"), ("'1e3'", "1e3"),
        ("'010'", "010"), ("1.2.3", "1.2.3"), ("[1e2, a]", [100.0, "a"]),
    ],
)  # fmt: skip
def test_numbers_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(text, "here")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "010", "-07", "00", "0_1", "1_000", "1_0.5", "0b11",
        "1:30", "190:20:30", "1:30.5", "1e999", "-1e999", "2020-13-45", "0x_", "0b_",
        "!!bool x", "!!int x", "!!int ''", "!!float ''", "!!timestamp x", "2001-01-01 99:99:99", "[" * 3000,
        "[" * 3000 + "]" * 3000, "{" * 100_000, "- " * 5000, "? " * 5000, "&a [*a]", "&a {k: *a}",
        '"\\ud800"', '"\\0"', "\0", "\udc80", "1" * 400,
        "1" * 5000, "{a: 1, a: 2}", "{? [a] : b}", "!!python/name:os.system x", "=", "{<<: 3}", "a: b: c",
        "--- a\n--- b",
    ],
    ids=lambda text: ascii(text[:30]),
)  # fmt: skip
def test_what_is_no_value_is_named(text: str) -> None:
    with pytest.raises(MixrouteError, match="^here is not YAML: ") as raised:
        parse_yaml(text, "here")
    assert len(str(raised.value)) < 400


def test_aliases_that_stand_for_too_much_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(MixrouteError, match="stands for more than 1000000 values"):
        parse_yaml("\n".join(lines), "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SUITE.encode("utf-16"), "save it as UTF-8"),
        (SUITE.encode() + b"description: \xff\n", "save it as UTF-8"),
        (b"", "must hold a mapping"),
        (b"[1]", "must hold a mapping"),
        (SUITE.encode() + b"#" * (1 << 24), "has more than"),
    ],
)
def test_what_is_no_file_of_ours_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)
    with pytest.raises(MixrouteError, match=f"suite.yaml .*{message}"):
        load_suite(str(path))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(SUITE.encode("utf-8-sig"))
    assert load_suite(str(path)).name == "s"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0]", "seeds: [010]", "'010' is read as different numbers"),
        ("seeds: [0]", "seeds: [true]", "key 'seeds' = .* true or false, where a number is wanted"),
        ("seeds: [0]", "seeds: ['1']", "a text, where a number is wanted"),
        ("seeds: [0]", "seeds: [.inf]", "key 'seeds.0' = inf"),
        ("label: a", "seeds: [true]", "key 'routers.0.seeds'"),
        ("temperature: 0.5", "temperature: .nan", "key 'temperature' = nan"),
        ("temperature: 0.5", "temperature: .inf", "key 'temperature' = inf"),
        ("temperature: 0.5", "temperature: true", "key 'temperature' = True: true or false"),
        ("temperature: 0.5", "router_timeout: .inf", "key 'router_timeout' = inf"),
        ("temperature: 0.5", "concurrency: yes", "key 'concurrency' = True"),
        ("limit: 1", "limit: true", "key 'tasks.0.limit' = True"),
        ("limit: 1", "limit: 010", "'010' is read as"),
        ("p: 0.5", "p: .nan", "p = nan is no finite number"),
        ("p: 0.5", "p: [.inf]", "p = inf is no finite number"),
        ("p: 0.5", "p: 2020-01-02", "p = 2020-01-02 is read as a date: put it in quotes"),
        ("p: 0.5", "p: {1: 2}", "p has the key 1, which is no text"),
        ("p: 0.5", "p: !!binary YQ==", "is none of text, number, list and mapping"),
        ("name: s", "name: ..", "key 'name' = '..'"),
        ("name: s", "name: .", "key 'name' = '.'"),
        ("name: s", "name: a/b", "key 'name' = 'a/b'"),
        ("name: s", f"name: {'A' * 1000}", f"key 'name' = '{'A' * 78}…: "),
    ],
)
def test_a_wrong_value_of_a_suite_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "suite.yaml"
    assert old in SUITE
    path.write_text(SUITE.replace(old, new))
    with pytest.raises(MixrouteError, match=rf"suite.yaml.*{message}"):
        load_suite(str(path))


def test_a_small_number_is_one(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("p: 0.5", "p: 1e-3").replace("temperature: 0.5", "temperature: 1e-2"))
    suite = load_suite(str(path))
    assert (suite.routers[0].args, suite.temperature) == ({"p": 0.001}, 0.01)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("random,p=1e-3", "random", {"p": 0.001}),
        ("mine.py:R,ks=[1,2],k=3", "mine.py:R", {"ks": [1, 2], "k": 3}),
        ('x,words=[a,b],text="a,b"', "x", {"words": ["a", "b"], "text": "a,b"}),
        ("x,words=[a, 'b,c', [d,e]]", "x", {"words": ["a", "b,c", ["d", "e"]]}),
        ("x,d={a: 1, b: [2,3]},k=2", "x", {"d": {"a": 1, "b": [2, 3]}, "k": 2}),
        ("x,t=it's,k=1", "x", {"t": "it's", "k": 1}),
        ("x,t='it''s, so',k=1", "x", {"t": "it's, so", "k": 1}),
        ('x,t="a\\"b,c",k=1', "x", {"t": 'a"b,c', "k": 1}),
        ("x,t=a[1,k=2", "x", {"t": "a[1", "k": 2}),
        ("a,b/mine.py:R,k=3", "a,b/mine.py:R", {"k": 3}),
        ("x, a = 1 , b = [1, 2]", "x", {"a": 1, "b": [1, 2]}),
        ("x,file=mine.py:R,k=1", "x", {"file": "mine.py:R", "k": 1}),
    ],
)
def test_a_router_of_the_command_line(text: str, name: str, arguments: dict[str, Any]) -> None:
    entry = parse_router(text)
    assert (entry.router, entry.args) == (name, arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random,p", "'p' is not key=value"),
        ("random,p=1,p=2", "'p' is given twice"),
        ("random,p=[1", r"'\[1' is not a value"),
        ("random,p=010", "'010' is not a value"),
        ("random,p=.nan", "p = nan is no finite number"),
        ("random,p=2020-13-45", "'2020-13-45' is not a value"),
        ("random,p=" + "[" * 3000, "is not a value"),
    ],
)
def test_a_wrong_router_of_the_command_line_is_named(text: str, message: str) -> None:
    with pytest.raises(MixrouteError, match=f"^--router .*{message}") as raised:
        parse_router(text)
    assert len(str(raised.value)) < 500


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text("ab,[]{}'\" :=\\", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@parser_examples(60)
@given(st.dictionaries(st.sampled_from(["a", "bc", "d_e"]), PLAIN, max_size=3))
def test_what_is_written_as_yaml_on_the_command_line_comes_back(arguments: dict[str, Any]) -> None:
    def written(value: object) -> str:
        flow = yaml.safe_dump([value], default_flow_style=True, width=10_000, default_style='"').strip()
        return flow[1:-1] if isinstance(value, list | dict) else yaml.safe_dump(value, default_style='"').split("\n")[0]

    text = ",".join(["x", *(f"{key}={written(value)}" for key, value in arguments.items())])
    assert parse_router(text).args == arguments


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    pool = tmp_path / "pool.yaml"
    pool.write_text(POOL.replace("some/name", "~/weights"))
    assert load_pool("~/pool.yaml").models["high"].weights == str(tmp_path / "weights")
    assert parse_router("~/mine.py:R,file=~/a").model_dump()["args"] == {"file": str(tmp_path / "a")}
    assert parse_router("~/mine.py:R").router == f"{tmp_path}/mine.py:R"


@pytest.mark.parametrize("key", ["weights", "adapter"])
@pytest.mark.parametrize("name", ["../nothere", "./nothere", "~/nothere"])
def test_a_missing_folder_of_weights_is_named_as_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "pools"
    folder.mkdir()
    named = f"{{weights: {name}}}" if key == "weights" else f"{{weights: some/name, adapter: {name}}}"
    (folder / "pool.yaml").write_text(POOL.replace("{weights: some/name}", named))
    looked_for = folder / "nothere" if name.startswith("./") else tmp_path / "nothere"
    with pytest.raises(MixrouteError, match=f"{key} of model 'high': '{looked_for}' does not exist"):
        load_pool(str(folder / "pool.yaml"))


def test_an_absolute_path_may_lie_where_a_server_runs(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    for name in ("/nowhere/weights", "$HOME/weights"):
        path.write_text(POOL.replace("some/name", name))
        with pytest.raises(MixrouteError, match="weights of model 'high': .* does not exist"):
            load_pool(str(path))
        path.write_text(POOL.replace("some/name", f"{name}, backend: openai"))
        assert load_pool(str(path)).models["high"].weights == name


CHARACTERS = st.sampled_from(
    [*"0123456789.-+_:xobe[]{}&*!|>'\"%@`#,?\n\t \\", "é", "\u202e", "\x1b", "!!int ", "!!set ", "~"]
)


@parser_examples(150)
@given(data=st.data(), whole=st.sampled_from([(SUITE, Suite), (POOL, Pool)]))
@example(data=None, whole=(SUITE, Suite))
def test_a_damaged_file_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None, whole: tuple[str, type[Any]]
) -> None:
    text, kind = whole
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4)) if data else 0):
        assert data is not None
        place = data.draw(st.integers(0, len(content)))
        removed = data.draw(st.integers(0, 8))
        new = data.draw(
            st.binary(max_size=3) | st.lists(CHARACTERS, max_size=6).map(lambda some: "".join(some).encode())
        )
        content[place : place + removed] = new
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(content)
    try:
        found = load_yaml(path, kind)
    except MixrouteError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 2000
    else:
        assert isinstance(found, kind)
        assert kind.model_validate_json(found.model_dump_json(by_alias=True)) == found
