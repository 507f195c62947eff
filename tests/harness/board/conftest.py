"""The page in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.board import write_board
from harness.traces.evidence import SELF_REPORTED, VERDICTS, VerdictRecord, entry_digest, write_records
from tests.command import PATIENCE
from tests.harness.board.builders import write_run
from tests.harness.board.clocked import write_clocks
from tests.harness.board.site import runs

SCREENSHOTS = Path(__file__).parents[3] / "screenshots"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    folders = [write_run(folder / f"run{number}", run) for number, run in enumerate(runs())]
    for task in (folders[:4], folders[4:5]):
        write_clocks(task)
    verdict = VerdictRecord("run0", entry_digest(folders[0]), "unchecked", [f"times: {SELF_REPORTED}"])
    write_records(folder / "evidence" / VERDICTS, [verdict])
    write_board(folders, folder / "board", traces=True, evidence=folder / "evidence")
    return folder / "board"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: make browser installs it")
    from playwright.sync_api import sync_playwright

    quiet = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    options = [f"--{name}" for name in (*quiet, "disable-component-update", "disable-sync")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options, timeout=1000 * PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, site: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.set_default_timeout(1000 * PATIENCE)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.extend([message.text] if message.type == "error" else []))
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#overview")
    page.get_by_role("tab", name="alfworld").click()
    yield page
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    assert troubles == []
    assert page.evaluate("window.hacked") is None
    page.close()
