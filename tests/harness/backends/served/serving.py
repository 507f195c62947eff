"""Servers of OpenAI's API in this process, which answer as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.backends.served.openai import OpenAIBackend
from harness.pool import ModelSpec
from mixroute import Message, Prompt, Request

Reply = tuple[int, Any]
"""Status and body: bytes as they are, anything else as JSON."""

PLAIN: dict[str, Any] = {
    "choices": [
        {
            "index": 0,
            "text": " go north",
            "finish_reason": "stop",
            "logprobs": {
                "tokens": [" go", " nor", "th", "\n"],
                "token_logprobs": [-0.1, -0.2, 0.0, -0.5],
                "top_logprobs": [{" go": -0.1, " look": -2.5}, {" nor": -0.2, " sou": -1.9}, {"th": 0.0}, {"\n": -0.5}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 40,
        "completion_tokens": 5,
        "total_tokens": 45,
        "prompt_tokens_details": {"cached_tokens": 32},
    },
    "id": "1",
    "created": 0,
    "model": "m",
    "object": "text_completion",
}


class Endpoint:
    """What was asked, and what is answered: a function of the number of the call."""

    def __init__(self, reply: Callable[[int], Reply]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.flying = self.most = 0
        self.reply = reply
        self.lock = threading.Lock()


@contextmanager
def serving(reply: Callable[[int], Reply]) -> Iterator[tuple[Endpoint, str]]:
    endpoint = Endpoint(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                number = len(endpoint.asked)
                endpoint.asked.append(body)
                endpoint.paths.append(self.path)
                endpoint.keys.append(self.headers["Authorization"])
                endpoint.flying += 1
                endpoint.most = max(endpoint.most, endpoint.flying)
            status, answer = endpoint.reply(number)
            with endpoint.lock:
                endpoint.flying -= 1
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("retry-after-ms", "10")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who has hung up hears no answer."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def opened(url: str, **options: Any) -> OpenAIBackend:
    given = {"base_url": url, "parameters": 1000, "weight_bytes": 2000, **options}
    return OpenAIBackend("high", ModelSpec(backend="openai", weights="m", options=given), deterministic=False)


def plain(session: str = "s", **changes: Any) -> Request:
    prompt = Prompt((Message("user", "You are in a room."), Message("user", "\n>")), "plain")
    return Request(session, prompt, **{"stop": ("\n",), "max_tokens": 8, **changes})
