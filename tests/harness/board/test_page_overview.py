"""What a reader meets first, in a real browser: the overview, the main rows, and links that hold what was chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.board import write_board
from tests.command import PATIENCE
from tests.harness.board.builders import Run, write_run
from tests.harness.board.site import column, plays, runs


def overview(page: Any) -> list[list[str]]:
    page.get_by_role("tab", name="Overview").click()
    return [[*line.locator("td").all_inner_texts()] for line in page.locator("#overview tbody tr").all()]


def test_the_overview_says_which_router_what_it_costs_and_whether_it_is_noise(page: Any) -> None:
    first = overview(page)[0]
    assert first[0] == "83.3"
    assert first[1].startswith("dmr")
    assert first[2:4] == ["75.0", "0.49"]
    assert first[4] == "−8.3 not told apart"
    assert first[5] == "+33.3 not told apart"  # random, 5 of 12
    assert page.locator(".charts svg").count() == 2
    page.locator("select[name=cost]").select_option("flops")
    assert re.search(r"none; the cheapest, dmr .*, takes 0.97 of always-high's FLOPs", overview(page)[0][1])
    page.locator("select[name=cost]").select_option("seconds")
    page.locator("select[name=budget]").select_option("0.5")
    assert overview(page)[0][1:4] == ["always-low (untrained)", "25.0", "0.50"]
    page.locator("select[name=budget]").select_option("0.75")
    assert overview(page)[0][1].startswith("dmr")
    page.locator("#overview").get_by_role("button", name="alfworld").click()
    assert "saves 35% of measured seconds" in page.locator("#verdict").inner_text()


def test_a_link_holds_what_the_reader_chose_by_name(page: Any) -> None:
    page.locator("select[name=cost]").select_option("flops")
    page.get_by_role("button", name="high %").click()
    page.locator("#columns summary").click()
    page.locator("input[name='column steps']").check()
    page.locator("input[name='column front']").uncheck()
    page.locator("input[name=filter]").fill("always")
    shown = page.locator("#rows").inner_text()
    address = page.url
    assert "high" in address
    assert "always" in address
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#rows")
    assert page.locator("#rows").inner_text() == shown
    heads = page.locator("#rows thead th").all_inner_texts()
    assert "steps" in heads
    assert "front" not in heads
    assert page.locator("th[aria-sort=descending]").inner_text() == "high %"


def test_a_link_to_what_there_is_not_opens_the_overview(site: Path, page: Any) -> None:
    page.goto("about:blank")
    page.goto(
        (site / "index.html").as_uri() + "#view=none&cost=none&budget=7&sort=none:down&columns=none&step=x&verified=ok"
    )
    page.wait_for_selector("#overview")
    page.get_by_role("tab", name="alfworld").click()
    page.wait_for_selector("#rows")


def test_filters_act_on_table_and_plot(page: Any) -> None:
    assert page.locator("#plot .point").count() == 4
    page.locator("input[name=filter]").fill("always")
    assert page.locator("#plot .point").count() == 2
    page.locator("input[name=filter]").fill("no such router")
    assert "No row is left" in page.locator("#panel").inner_text()


def test_ten_main_rows_stand_first_and_the_rest_is_a_click_away(tmp_path: Path, browser: Any) -> None:
    ladder = [Run("dmr", plays("hll", 4 + rank % 6), label=f"dmr {rank}", args={"rank": rank}) for rank in range(12)]
    oracle = Run("agreement-oracle", plays("hhl", 11))
    folders = [write_run(tmp_path / f"run{number}", run) for number, run in enumerate([*runs()[:3], *ladder, oracle])]
    write_board(folders, tmp_path / "board")
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto((tmp_path / "board" / "index.html").as_uri())
    page.get_by_role("tab", name="alfworld").click()
    first = column(page, 1)
    assert len(first) == 11
    assert first[-1] == "agreement-oracle oracle"
    assert {"always-high", "always-low", "random"} < set(first)
    assert "dmr 0" not in first
    assert page.locator("#plot .random").count() == 1
    page.locator("#more").click()
    assert len(column(page, 1)) == 16
    page.locator("#more").click()
    assert column(page, 1) == first
    page.locator("input[name=filter]").fill("dmr 0")
    assert column(page, 1) == ["dmr 0"]
    page.close()
