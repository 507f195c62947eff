"""A server in a thread of the test, and clients for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI, OpenAI

from harness.pool import load_pool
from harness.records import Episode, RunMeta
from harness.serving.server import bound, open_service, run_server, service_of
from harness.serving.service import Service
from harness.serving.settings import Settings
from harness.traces.read import read_run
from harness.traces.store import find_runs, read_episodes
from mixroute import Backend
from tests.command import PATIENCE

KEY = "none"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str
    service: Service

    def client(self, key: str = KEY) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)

    def async_client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=PATIENCE, **options)

    def judge(self, session: str, score: float = 1.0, **more: object) -> httpx.Response:
        return self.post(f"/v1/sessions/{session}/outcome", json={"score": score, **more})


@contextmanager
def serving(service: Service) -> Iterator[Served]:
    """Serve until the block ends; then all sessions are recorded."""
    began = threading.Event()
    stops: list[Any] = []
    failures: list[BaseException] = []
    listening = bound("127.0.0.1", 0)

    def ready(stop: Any) -> None:
        stops.append(stop)
        began.set()

    def run() -> None:
        try:
            run_server(service, listening, 5.0, ready)
        except BaseException as error:  # raised where the test waits
            failures.append(error)
        finally:
            began.set()

    thread = threading.Thread(target=run)
    with listening:
        thread.start()
        assert began.wait(PATIENCE)
        try:
            if not failures:
                yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", service)
        finally:
            if stops and thread.is_alive():
                stops[0]()
            thread.join(PATIENCE)
    for error in failures:
        raise error


@contextmanager
def served(
    pool: Path, router: str, out: Path | None, models: Mapping[str, Backend] | None = None, **settings: Any
) -> Iterator[Served]:
    """Serve a router on the models of a pool file, or on ``models`` under its name."""
    chosen = Settings(str(pool), router, out, **settings)
    opened = open_service(chosen) if models is None else service_of(chosen, load_pool(str(pool)), models)
    with opened as service, serving(service) as running:
        yield running


def recorded(out: Path) -> dict[tuple[str, str], tuple[RunMeta, dict[str, Episode]]]:
    """The recorded runs by router and split, each with its episodes by instance; the board can read them."""
    found = {}
    for folder in find_runs(out):
        meta = read_run(folder).meta
        found[meta.router, meta.split] = meta, {one.instance: one for one in read_episodes(folder)}
    return found
