"""The HTTP side of a server: routes, keys and bodies."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from harness.serving.errors import ApiError, wrong
from harness.serving.replies import Reply
from harness.serving.schema import Question, chat_question, outcome_of, text_question
from harness.serving.service import Service
from harness.text import one_line

T = TypeVar("T")

SESSION = "x-session-id"
_KEY = re.compile(r"[A-Za-z0-9][\w./:=+@~-]{0,199}", re.ASCII)
_BODY_SECONDS = 60.0
"""Seconds in which a body must arrive."""
_GONE = 499
"""Status of requests whose client has gone; nobody reads it."""


def create_app(service: Service, hosts: frozenset[str] | None) -> FastAPI:
    """The application of a service.

    Args:
        service: The service, which has been started.
        hosts: Names under which clients may address the server; None for all. Without a key a page in a browser could
            otherwise reach it under a name of its own.
    """

    async def admitted(request: Request) -> None:
        if hosts is not None and request.url.hostname not in hosts:
            raise ApiError(403, f"the server is not to be addressed as {one_line(request.url.hostname)}")
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if service.settings.key and not secrets.compare_digest(given.encode(), service.settings.key.encode()):
            raise ApiError(401, "the API key is missing or wrong", "authentication_error", code="invalid_api_key")

    # Nothing is told to anybody but those who ask /metrics: errors may quote what clients say.
    silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry=silent)
    guarded = [Depends(admitted)]

    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def refuse_route(_: Request, error: HTTPException) -> Response:
        return JSONResponse(ApiError(error.status_code, str(error.detail)).body, error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def end(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_GONE)

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        return JSONResponse(ApiError(500, "the server failed: see its log", "server_error").body, 500)

    @app.get("/health")
    async def health() -> Response:
        trouble = service.trouble
        return JSONResponse({"status": "failing" if trouble else "ok", "trouble": trouble}, 503 if trouble else 200)

    @app.get("/metrics", dependencies=guarded)
    async def metrics() -> Response:
        return Response(service.metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in service.offers]}

    @app.get("/v1/models/{name:path}", dependencies=guarded)
    async def model(name: str) -> dict[str, Any]:
        service.offer(name)
        return _model(name)

    @app.post("/v1/chat/completions", dependencies=guarded)
    async def chat(request: Request) -> Response:
        return await _counted(service, chat_question(await _body(request, service.settings.body_bytes)), request)

    @app.post("/v1/completions", dependencies=guarded)
    async def complete(request: Request) -> Response:
        return await _counted(service, text_question(await _body(request, service.settings.body_bytes)), request)

    @app.post("/v1/sessions/{session:path}/outcome", dependencies=guarded)
    async def judge(session: str, request: Request) -> dict[str, Any]:
        outcome = outcome_of(await _body(request, service.settings.body_bytes))
        return {"session": session, "recorded": await service.judge(session, outcome)}

    return app


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "mixroute"}


async def _counted(service: Service, question: Question, request: Request) -> Response:
    """The response to a question, counted."""
    began = time.perf_counter()
    status = 500
    try:
        response = await _respond(service, question, request)
        status = response.status_code
    except ApiError as error:
        status = error.status
        raise
    finally:
        known = question.model if question.model in service.offers else ""
        service.metrics.request(known, status, time.perf_counter() - began)
    return response


async def _respond(service: Service, question: Question, request: Request) -> Response:
    key = request.headers.get(SESSION)
    if key is not None and not _KEY.fullmatch(key):
        raise wrong(f"header {SESSION} takes 1 to 200 letters, digits and ./:=+@~_-, and begins with one of the former")
    answer = await _unless_gone(request, service.answer(question, key))
    if answer is None:
        return Response(status_code=_GONE)
    reply = Reply(answer, question.conversation.kind, service.cards)
    if question.stream:
        # The answer is whole before its first word is sent: only then it is known which model's it is.
        events = reply.events(usage=question.stream_usage)
        headers = {**reply.headers, "Cache-Control": "no-cache"}
        return StreamingResponse(_sent(events), media_type="text/event-stream", headers=headers)
    return JSONResponse(reply.body, headers=reply.headers)


async def _sent(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event
        await asyncio.sleep(0)  # others take their turns, and a client that has gone is noticed


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``; None where the client goes before, which cancels it."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        either: set[asyncio.Future[Any]] = {task, gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in either:
            if not one.done():
                one.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await one


async def _gone(request: Request) -> None:
    """Wait until the client has gone; its request has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        ApiError: it is too long, too slow, or says that it is no JSON.
    """
    # Pages in a browser may send other types to any server, without asking it first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send the header Content-Type: application/json")
    found = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > most:
                    raise ApiError(413, f"a request has {most} bytes at most", code="request_too_large")
    except TimeoutError:
        raise ApiError(408, f"the request did not arrive within {_BODY_SECONDS:g} s") from None
    return bytes(found)
