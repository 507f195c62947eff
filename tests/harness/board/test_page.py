"""The page as a reader meets it, in a real browser: sorting, filtering, costs, episodes, keyboard, phone, dark."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from harness.board import write_board
from harness.board.page import to_html
from harness.board.table import build_board
from tests.harness.board.builders import Run, write_run
from tests.harness.board.site import GAMES, HOSTILE, column, plays, runs


def test_rows_are_sorted_by_any_column(page: Any) -> None:
    assert [text.split()[0] for text in column(page, 2)] == ["83.3", "75.0", "41.7", "25.0"]
    by_high = page.get_by_role("button", name="high %")
    by_high.click()
    assert column(page, 3) == ["100.0", "34.3", "33.3", "0.0"]
    assert page.locator("th[aria-sort=descending]").inner_text() == "high %"
    by_high.click()
    assert column(page, 3) == ["0.0", "33.3", "34.3", "100.0"]
    page.get_by_role("button", name="router", exact=True).click()
    assert column(page, 1)[:2] == ["always-high", "always-low"]


def test_rows_are_filtered_by_text_and_by_the_front(page: Any) -> None:
    page.keyboard.press("Tab")
    page.locator("input[name=filter]").press_sequentially("always-l")
    assert column(page, 1) == ["always-low"]
    assert page.evaluate("document.activeElement.name") == "filter"
    page.locator("input[name=filter]").fill("")
    page.locator("input[name=front]").check()
    assert column(page, 5) == ["yes"] * 3


def test_a_router_that_crashed_is_on_no_front(page: Any) -> None:
    page.get_by_role("tab", name="webshop").click()
    for cost in ("weight_bytes", "flops"):
        page.locator("select[name=cost]").select_option(cost)
        assert dict(zip(column(page, 1), column(page, 5), strict=True)) == {"always-high": "yes", "stuck": ""}


def test_seconds_that_nothing_bounds_are_on_no_front(page: Any) -> None:
    assert dict(zip(column(page, 1), column(page, 5), strict=True))["always-high"] == "yes"
    page.locator("select[name=cost]").select_option("seconds")
    assert dict(zip(column(page, 1), column(page, 5), strict=True))["always-high"] == ""
    assert dict(zip(column(page, 1), column(page, 4), strict=True))["always-high"] == "self-reported"


def test_rows_are_filtered_by_their_verdict(page: Any) -> None:
    page.locator("select[name=verified]").select_option("unchecked")
    assert column(page, 1) == ["always-high"]
    assert page.evaluate("document.activeElement.name") == "verified"
    page.locator("select[name=verified]").select_option("none")
    assert "always-high" not in column(page, 1)
    page.locator("select[name=verified]").select_option("ok")
    assert column(page, 1) == []


def test_the_cost_is_chosen_and_prices_are_the_readers(page: Any) -> None:
    def costs() -> dict[str, float]:
        cells = zip(column(page, 1), column(page, 4), strict=True)
        return {label: float(cell) for label, cell in cells if cell != "self-reported"}

    assert costs()["always-low"] == 0.25
    page.locator("select[name=cost]").select_option("flops")
    assert costs()["always-low"] == 1.0
    page.locator("select[name=cost]").select_option("seconds")
    assert costs()["always-low"] == 0.5
    assert "measured seconds" in page.locator("#plot").text_content()
    page.locator("select[name=cost]").select_option("price")
    assert costs()["always-low"] == 0.25
    for kind in ("input", "cached", "output"):
        page.locator(f"input[name='low {kind}']").fill("0")
        page.keyboard.press("Enter")
    assert costs()["always-low"] == 0.0
    assert costs()["random"] == pytest.approx(1 / 3, abs=1e-3)


def test_success_within_a_budget_follows_the_cost(page: Any) -> None:
    def within() -> dict[str, list[str]]:
        lines = page.locator("#within tbody tr").all()
        return {cells[0]: cells[1:] for cells in ([*line.locator("td").all_inner_texts()] for line in lines)}

    # always-low takes a quarter of the bytes and half of the seconds, and wins 3 of 12.
    assert within()["always-low"] == ["0.0", "25.0", "25.0", "25.0", "25.0", "25.0", "25.0"]
    assert within()["always-high"] == ["0.0", "0.0", "0.0", "0.0", "83.3", "83.3", "83.3"]
    assert page.locator("#budgets path").count() == 3  # the front, always-high and always-low
    page.locator("select[name=cost]").select_option("seconds")
    assert within()["always-low"] == ["0.0", "0.0", "25.0", "25.0", "25.0", "25.0", "25.0"]
    assert "always-high" not in within()  # self-reported
    page.locator("select[name=cost]").select_option("price")
    assert "No row has this cost" in page.locator("#panel").inner_text()


def test_a_row_opens_into_what_it_rests_on(page: Any) -> None:
    page.locator("#rows").get_by_role("button", name="always-low").click()
    detail = page.locator("tr.detail").inner_text()
    assert re.search(r"hash [0-9a-f]{64}", detail)
    assert "seed 0" in detail
    assert page.locator("#rows").get_by_role("button", name="always-low", expanded=True).count() == 1


def test_differences_and_claims_stand_beside_the_figures(page: Any) -> None:
    row = page.locator("#rows tbody tr").filter(has_text="dmr").first.inner_text()
    assert "+33.3" in row  # against random: 9 to 5 of 12
    assert "2602.02711" in page.locator("#claims").inner_text()
    assert "2602.02711" not in page.locator("#rows").inner_text()
    kinds = page.locator("#kinds").inner_text()
    assert "cool" in kinds
    assert "n=6" in kinds


def test_an_episode_is_shown_and_two_are_compared_where_they_part(page: Any) -> None:
    page.locator("select[name=first]").select_option(label="always-high, seed 0")
    page.locator("select[name=instance]").select_option("game/03")
    assert page.locator(".step").count() == 3
    assert page.locator(".step.high").count() == 3
    page.locator("select[name=instance]").select_option("game/00")
    page.locator("select[name=second]").select_option(label=f"dmr {HOSTILE}, seed 0")
    page.wait_for_selector(".episode.two")
    assert page.locator(".step.part").count() == 2
    assert HOSTILE in page.locator(".episode").inner_text()
    page.get_by_role("button", name="Link to step 2").first.click()
    page.wait_for_selector(".episode.two")
    address = page.url
    page.goto("about:blank")
    page.goto(address)  # the address holds what is shown
    page.wait_for_selector(".episode.two")
    assert page.locator("select[name=instance]").input_value() == "game/00"
    assert "step=2" in address
    assert page.evaluate("scrollY") > 0


def test_everything_is_within_reach_of_the_keyboard(page: Any) -> None:
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab][aria-selected=true]").inner_text().startswith("webshop")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "tab"
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="high %").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text() == "high %"
    assert page.evaluate("document.activeElement.textContent") == "high %"
    page.locator("#plot .point").first.focus()
    assert "%" in page.locator(".tip").inner_text()
    page.keyboard.press("Enter")
    assert page.locator("tr.detail").count() == 1
    nameless = (
        "[...document.querySelectorAll('button, input, select')].filter((e) => !e.textContent && !e.labels?.length)"
    )
    assert page.evaluate(f"{nameless}.length") == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1200, "dark")])
def test_a_phone_and_the_dark_are_served(page: Any, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.reload()
    page.wait_for_selector("#viewer select")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") != scheme


def test_without_traces_the_page_stands_alone(site: Path, tmp_path: Path, browser: Any) -> None:
    write_board([write_run(tmp_path / "run", runs()[0])], tmp_path / "board")
    assert not (tmp_path / "board" / "traces").exists()
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "board" / "index.html").as_uri())
    page.get_by_role("tab", name="alfworld").click()
    assert "mixroute board --traces" in page.locator("#viewer").inner_text()
    assert len(asked) == 1
    page.close()


def test_nothing_of_a_trace_ends_its_script_or_names_a_file(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert text.count("</script>") == 2
    for file in (site / "traces").iterdir():
        assert re.fullmatch(r"[0-9a-f]{16}\.js", file.name)
        name, _, episodes = file.read_text().removeprefix("mixrouteTrace(").removesuffix(");\n").partition(", ")
        assert json.loads(name) == file.stem
        assert len(json.loads(episodes)) == len(GAMES)
        assert "<" not in file.read_text()


@pytest.mark.parametrize(
    "label",
    [
        "{{script}}",
        "{{data}}{{style}}",
        "{{no_part}}",
        "</script><!--",
        "<!--<script>",
        "]]>",
        "\\u003c/script>",
        "\u2028",
    ],
)
def test_no_label_breaks_the_data_of_the_page(tmp_path: Path, label: str) -> None:
    run = replace(runs()[0], label=label)
    plain = to_html(build_board([write_run(tmp_path / "plain", runs()[0])])).decode()
    text = to_html(build_board([write_run(tmp_path / "run", run)])).decode()
    opening = '<script type="application/json" id="data">'
    before, _, rest = text.partition(opening)
    content, _, after = rest.partition("</script>")
    data = json.loads(content)
    assert [row["label"] for section in data["sections"] for row in section["rows"]] == [label]
    assert before == plain.partition(opening)[0]
    assert after == plain.partition(opening)[2].partition("</script>")[2]  # the script is where it was
    assert not {"</script", "<!--", "<script"} & set(re.findall("</?script|<!--", content))


def test_tabs_name_the_pool_where_they_would_read_alike(tmp_path: Path) -> None:
    one = Run("always-high", plays("hh", 12))
    shown = [one, replace(one, pool="other", config={"pool": "other"}), replace(one, task="webshop")]
    folders = [write_run(tmp_path / str(number), run) for number, run in enumerate(shown)]
    tabs = re.findall(r'"tab":"(.*?)"', to_html(build_board(folders)).decode())
    named = [json.loads(f'"{tab}"').split(" · ") for tab in tabs]
    assert [tab[2:] for tab in named] == [["other"], ["toy"], []]
    assert {tab[1] for tab in named} == {"12"}


def test_the_page_is_small_and_its_bytes_are_those_of_the_runs(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"run{seed}", replace(runs()[2], seed=seed)) for seed in range(3)]
    for out, order in (("one", folders), ("two", folders[::-1])):
        write_board(order, tmp_path / out, traces=True)
    one, two = ((tmp_path / out / "index.html").read_bytes() for out in ("one", "two"))
    assert one == two
    write_board(folders[:1], tmp_path / "one", traces=True)
    assert len(list((tmp_path / "one" / "traces").iterdir())) == 1
    assert len(one) < 100_000


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, success criterion 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_of_text_can_be_read_on_every_ground(site: Path) -> None:
    style = (site / "index.html").read_text().partition("<style>")[2].partition("</style>")[0]
    themes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root[^{]*\{[^}]*\}", style)
    ]
    assert len(themes) == 2
    for theme in themes:
        texts = ("text", "quiet", "accent", "good", "bad", "high", "low", "mixed")
        for text, ground in product(texts, ("ground", "raised")):
            assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
