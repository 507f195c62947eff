"""The suites that are shipped: none of them fails for what its file says."""

from __future__ import annotations

import pytest

from harness import registry
from harness.config import shipped_names
from harness.pool import load_pool
from harness.suite import SHIPPED, load_suite


@pytest.mark.parametrize("name", shipped_names(SHIPPED))
def test_every_shipped_suite_names_what_there_is(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    for task in suite.tasks:
        registry.tasks.get(task.task)
    for entry in suite.routers:
        registry.routers.get(entry.router)
    if not suite.pool.startswith("runs/"):  # else a command writes it
        assert load_pool(suite.pool).models
