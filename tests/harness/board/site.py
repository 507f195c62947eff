"""A small board for tests of the page: two tasks, a hostile label, a crashed router."""

from __future__ import annotations

from typing import Any

from tests.harness.board.builders import Play, Run

HOSTILE = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>${window.hacked=1}'

GAMES = [f"game/{number:02}" for number in range(12)]


def plays(steps: str, won: int) -> dict[str, Play]:
    return {
        game: Play(steps, success=place < won, kind=("pick", "cool")[place % 2]) for place, game in enumerate(GAMES)
    }


def runs() -> list[Run]:
    mixed = plays("hll", 9)
    mixed[GAMES[0]] = Play("hl", text=HOSTILE)
    crashed = {**plays("ll", 12), GAMES[0]: Play("l", success=False, error="boom")}
    return [
        Run("always-high", plays("hhh", 10)),
        Run("always-low", plays("lll", 3)),
        Run("random", plays("hll", 5), args={"p": 0.3}),
        Run("dmr", mixed, label=f"dmr {HOSTILE}"),
        Run("always-high", plays("hh", 12), task="webshop", protocol={"step_cap": 15}),
        Run("stuck", crashed, task="webshop", protocol={"step_cap": 15}),
    ]


def column(page: Any, place: int) -> list[str]:
    texts: list[str] = page.locator(f"#rows tbody tr:not(.detail) > :nth-child({place})").all_inner_texts()
    return texts
