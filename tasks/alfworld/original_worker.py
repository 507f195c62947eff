"""Runs one game in the original engine and speaks JSON lines over its pipes. Imports nothing of mixroute.

It is started as a script by ``tasks.alfworld.original``, possibly under another Python. The first line is the game (or
``{}`` to ask for the package's own domain and grammar); then each line is ``{"command": …}``, or ``{}`` to start over.
Each is answered with one line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO


def main() -> None:
    """Serve until the input ends."""
    # The engine prints, and swaps sys.stdout: the answers get a pipe of their own, and prints go to standard error.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        try:
            game = json.loads(sys.stdin.buffer.readline())
            if not game:
                return _answer(answers, dict(zip(("domain", "grammar"), _logic(), strict=True)))
            environment = _load(game)
        except ImportError as error:
            return _answer(answers, {"missing": str(error)})
        except Exception as error:
            return _answer(answers, {"error": repr(error)})
        _answer(answers, {"ready": True})
        for line in sys.stdin.buffer:
            request = json.loads(line)
            try:
                state = environment.step(request["command"])[0] if "command" in request else environment.reset()
                reply = {"text": state.feedback, "admissible": state.admissible_commands, "won": bool(state.won)}
            except Exception as error:
                reply = {"error": repr(error)}
            _answer(answers, reply)
    return None


def _load(game: dict[str, Any]) -> Any:  # noqa: ANN401 - the engine has no types
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs.pddl import PddlEnv

    domain, grammar = _logic()
    domain, grammar = game["domain"] or domain, game["grammar"] or grammar
    for old, new in game["replace"]:
        domain = domain.replace(old, new)
        grammar = grammar.replace(old, new)
    if game["without_help"]:
        domain = _without_block(domain, "(:action help", "()")
        grammar = _without_block(grammar, "action help {", "{}")
    # Never the planner's policy commands: it would replan at every step, for up to minutes.
    infos = textworld.EnvInfos(admissible_commands=True, won=True)
    environment = AlfredDemangler(PddlEnv(infos))
    environment.load({"pddl_domain": domain, "grammar": grammar, "pddl_problem": game["problem"]})
    return environment


def _logic() -> tuple[str, str]:
    """The package's own domain and grammar, after making sure that the engine can be imported."""
    import textworld.envs.pddl  # noqa: F401
    from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH

    return Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8"), Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")


def _without_block(text: str, opening: str, brackets: str) -> str:
    """``text`` without the bracketed block that begins with ``opening``."""
    start = text.find(opening)
    if start < 0:
        return text
    depth = 0
    for end in range(start, len(text)):
        depth += (text[end] == brackets[0]) - (text[end] == brackets[1])
        if text[end] == brackets[1] and depth == 0:
            return text[:start] + text[end + 1 :]
    return text


def _answer(stream: BinaryIO, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
