"""A server from its settings: models, record, socket and signals."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext

import uvicorn

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend
from harness.engine.loop import run_to_end
from harness.engine.opening import open_models
from harness.errors import MixrouteError, RunStopped
from harness.files import locked_folder
from harness.pool import Pool, load_pool
from harness.serving.app import create_app
from harness.serving.offers import check_router, notes_of, open_offers
from harness.serving.recorder import SessionRecorder
from harness.serving.service import Service
from harness.serving.settings import Settings

log = logging.getLogger(__name__)

_KEPT_ALIVE = 75
"""Seconds that an idle connection stays open: an agent that asks again as it is closed would get an error."""
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """A service with its models loaded, until the block ends.

    Raises:
        MixrouteError: unknown pool or router, weights that cannot be read, or a folder that is in use or holds
            something else.
    """
    pool = load_pool(settings.pool)
    check_router(settings)
    with ExitStack() as stack:
        answers = CompletionCache() if settings.reuse else None
        models = stack.enter_context(open_models(pool, settings.mode, answers))
        yield stack.enter_context(service_of(settings, pool, models))


@contextmanager
def service_of(settings: Settings, pool: Pool, models: Mapping[str, Backend]) -> Iterator[Service]:
    """A service of models that are loaded, until the block ends; its folder is locked.

    Raises:
        MixrouteError: as ``open_service``.
    """
    with nullcontext() if settings.out is None else locked_folder(settings.out):
        offers = open_offers(settings, pool, models)
        for note in notes_of(offers):
            log.warning("%s", note)
        yield Service(settings, offers, models, None if settings.out is None else SessionRecorder(offers, settings.out))


def key_from(variable: str, host: str) -> str:
    """The API key in an environment variable; empty where none is demanded.

    Raises:
        MixrouteError: there is none, and others than this machine can reach the server.
    """
    key = os.environ.get(variable, "").strip()
    if not key and not is_local(host):
        raise MixrouteError(
            f"--host {host}: whoever reaches this machine could use its models: set a key in ${variable}, or serve on "
            "127.0.0.1"
        )
    return key


def is_local(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address; with port 0 at any free port.

    Raises:
        MixrouteError: it cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise MixrouteError(f"--host {host} --port {port}: {error.strerror or error}: choose another") from error
    return found


class _Server(uvicorn.Server):
    """A server whose signals are ours: when it has ended, what it has open is still to be closed.

    Args:
        config: Of the server.
        ready: Called when it takes requests.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_gently(self) -> None:
        """Answer the requests that are in progress, and end; the second time, end at once."""
        self.force_exit, self.should_exit = self.should_exit, True


def run_server(
    service: Service, listening: socket.socket, grace: float, ready: Callable[[Callable[[], object]], None]
) -> None:
    """Serve until a signal comes, or the function that ``ready`` gets is called.

    Args:
        service: What is served.
        listening: Where.
        grace: Seconds that requests in progress have to end.
        ready: Called when requests are answered, with what ends the server; that may be called by any thread.

    Raises:
        MixrouteError: the server could not go on, or sessions could not be recorded.
    """
    failures: list[RunStopped] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            service.failure.add_done_callback(fail)
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, server.stop_gently)
            ready(lambda: loop.call_soon_threadsafe(server.stop_gently))

        def fail(done: asyncio.Future[RunStopped]) -> None:
            if not done.cancelled():
                failures.append(done.result())
                server.stop_gently()

        hosts = None if service.settings.key else _LOCAL | {listening.getsockname()[0]}
        config = uvicorn.Config(
            create_app(service, hosts),
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEPT_ALIVE,
            timeout_graceful_shutdown=max(1, round(grace)),
        )
        server = _Server(config, begin)
        await service.start()
        try:
            await server.serve(sockets=[listening])
        finally:
            await service.stop()

    run_to_end(serve())
    if failures:
        raise failures[0]
