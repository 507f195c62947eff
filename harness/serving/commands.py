"""The command ``mixroute serve``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import MixrouteError
from harness.shell_completion import complete_pool, complete_router
from harness.terminal import Terminal

_PACKAGES = ("fastapi", "prometheus_client", "uvicorn")


def serve(
    pool: Annotated[str, typer.Option(help="Pool of models: a name or a .yaml file.", autocompletion=complete_pool)],
    router: Annotated[
        str,
        typer.Option(help="Router: NAME or file.py:Class, then ,key=value …", autocompletion=complete_router),
    ],
    host: Annotated[
        str, typer.Option(help="Address to serve at; others than this machine's own need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8000,
    to: Annotated[Path, typer.Option("--out", help="Folder of the recorded sessions.")] = Path("runs/served"),
    record: Annotated[bool, typer.Option(help="Record sessions as traces, with their texts.")] = True,
    name: Annotated[str, typer.Option(help="What the sessions are of: the task of their traces.")] = "served",
    mode: Annotated[
        str, typer.Option(help="deterministic, or throughput, which endpoints of others need.")
    ] = "deterministic",
    seed: Annotated[int, typer.Option(help="Root seed of the router's draws.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Temperature of requests that state none.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of chat requests that state none.")] = 512,
    longest: Annotated[
        int, typer.Option("--most-tokens", min=1, help="Most tokens that a request may ask for.")
    ] = 8192,
    key_variable: Annotated[
        str, typer.Option("--api-key-env", help="Environment variable with the key that clients must show.")
    ] = "MIXROUTE_API_KEY",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests that are answered at once.")] = 64,
    waiting: Annotated[int, typer.Option(min=0, help="Further requests that wait; others get 429.")] = 256,
    sessions: Annotated[int, typer.Option(min=1, help="Open sessions; the oldest is closed for a new one.")] = 1024,
    session_age: Annotated[
        float, typer.Option(min=0.01, help="Seconds unused after which a session is closed.")
    ] = 1800.0,
    max_body: Annotated[int, typer.Option(min=1024, help="Most bytes of a request.")] = 4 << 20,
    grace: Annotated[float, typer.Option(min=1, help="Seconds that requests have to end at shutdown.")] = 30.0,
    reuse: Annotated[bool, typer.Option(help="Take greedy answers from the completion cache.")] = False,
) -> None:
    """Serve a router behind OpenAI's API, and record its sessions (docs/serving.md)."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MixrouteError(f"mixroute serve needs {', '.join(missing)}: pip install 'mixroute[serve]'")
    from harness.serving.server import bound, key_from, open_service, run_server
    from harness.serving.settings import Settings

    settings = Settings(
        pool=pool,
        router=router,
        out=to if record else None,
        name=name,
        mode=mode,  # type: ignore[arg-type] # checked there
        seed=seed,
        temperature=temperature,
        max_tokens=max_tokens,
        longest=longest,
        key=key_from(key_variable, host),
        running=concurrency,
        waiting=waiting,
        sessions=sessions,
        session_age=session_age,
        body_bytes=max_body,
        reuse=reuse,
    )
    err = Terminal(stderr=True)
    listening = bound(host, port)
    with listening:
        err.print(f"loading pool {pool}", style="dim", highlight=False, markup=False)
        with open_service(settings) as service:
            address = f"[{host}]" if ":" in host else host
            url = f"http://{address}:{listening.getsockname()[1]}/v1"
            offered = ", ".join(service.offers)

            def ready(stop: Callable[[], object]) -> None:
                err.print(f"serving {offered} at {url}", highlight=False, markup=False, soft_wrap=True)

            run_server(service, listening, grace, ready)
    if record:
        err.print(f"sessions are in {to}; next: mixroute board {to}", highlight=False, markup=False)
