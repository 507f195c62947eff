"""The original engine (extra ``alfworld``), one process an environment, since it swaps ``sys.argv`` and ``sys.stdout``.

It runs under ``$MIXROUTE_TEXTWORLD_PYTHON``, else under this Python. Loading takes about a second, a step 50 ms and a
process 90 to 165 MB, so it serves to verify the own engine and not to run benchmarks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from mixroute import EpisodeError, MixrouteError, Observation
from tasks.alfworld.data import GameData
from tasks.alfworld.dialect import DIALECTS, get_dialect

_WORKER = Path(__file__).with_name("original_worker.py")
_FIX = (
    "install it with: pip install 'mixroute[alfworld]', or point $MIXROUTE_TEXTWORLD_PYTHON at the Python that has it"
)


def python() -> str:
    """The Python that runs the original engine."""
    return os.environ.get("MIXROUTE_TEXTWORLD_PYTHON") or sys.executable


def check_installed() -> None:
    """Make sure that the original engine can be started.

    Raises:
        MixrouteError: its Python is missing or does not have the packages.
    """
    package_logic()


def package_logic() -> tuple[str, str]:
    """The domain and the grammar that the installed package ships.

    Raises:
        MixrouteError: it is not installed.
    """
    answer = _probe(python())
    if "failure" in answer:
        raise MixrouteError(f"the ALFWorld engine 'textworld' is not available ({answer['failure']}): {_FIX}")
    return answer["domain"], answer["grammar"]


@cache
def _probe(executable: str) -> dict[str, str]:
    try:
        worker = _Worker(executable)
        try:
            return worker.ask({})
        finally:
            worker.close()
    except (MixrouteError, EpisodeError) as error:
        return {"failure": str(error)}


class OriginalEnvironment:
    """A game in the original engine. The process starts with the first ``reset`` and ends with ``close``.

    Args:
        data: The game; without a domain and grammar of its own it is played with those of the installed package.
        dialect: ``0.4``, or ``0.3`` for the wording before the project's conversion of its games.
    """

    def __init__(self, data: GameData, dialect: str) -> None:
        old, new = DIALECTS["0.4"], get_dialect(dialect)
        replace = [("Your task is to: UNKNOWN GOAL.", json.dumps(data.task)[1:-1])]
        if new.arrival_names_location:
            replace.append(("You arrive at {r.name}.", "You arrive at {lend.name}."))
        for was, becomes, o, r in (
            (old.put_command, new.put_command, "{o}", "{r}"),
            (old.put_feedback, new.put_feedback, "{o.name}", "{r.name}"),
        ):
            replace.append((was.format(o=o, r=r), becomes.format(o=o, r=r)))
        self._game = {
            "problem": data.problem,
            "domain": data.domain,
            "grammar": data.grammar,
            "replace": replace,
            "without_help": not new.help_command,
        }
        self._worker: _Worker | None = None
        self._over = False

    def reset(self) -> Observation:
        """Start the game, or start it over.

        Raises:
            MixrouteError: the engine is not installed.
            EpisodeError: the engine cannot load the game.
        """
        if self._worker is None:
            self._worker = _Worker(python())
            self._worker.ask(self._game)
        self._over = False
        return _observation(self._worker.ask({}))

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Play one command; the reward is 1.0 when it wins, which ends the game, and 0.0 otherwise."""
        if self._worker is None or self._over:
            raise RuntimeError("the game is not running: reset it before a step")
        answer = self._worker.ask({"command": action})
        self._over = bool(answer["won"])
        return _observation(answer), float(self._over), self._over

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _observation(answer: dict[str, Any]) -> Observation:
    return Observation(str(answer["text"]), tuple(answer["admissible"]))


class _Worker:
    """The process; it ends by itself when its input is closed, so also when this process dies."""

    def __init__(self, executable: str) -> None:
        self._executable = executable
        try:
            # Isolated mode keeps this folder, whose modules have common names, off the worker's import path.
            self._process = subprocess.Popen(  # noqa: S603 - fixed script, executable chosen by the user
                [executable, "-I", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise MixrouteError(f"{executable} cannot be started: {error.strerror}") from error
        self._close = weakref.finalize(self, _end, self._process)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except (OSError, ValueError):
            line = b""
        if not line:
            self.close()
            raise EpisodeError(f"the original engine's process ended with code {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            self.close()
            raise MixrouteError(f"{answer['missing']} in {self._executable}")
        if "error" in answer:
            raise EpisodeError(f"the original engine failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process and free its pipes."""
        self._close()


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # a broken pipe: the process has ended already
                continue
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
