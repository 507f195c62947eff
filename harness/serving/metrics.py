"""Figures of a running server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from harness.serving.steps import Answer

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Counters and histograms of one server.

    Args:
        sessions: Tells how many sessions are open.
        inside: Tells how many requests are answered or wait.
    """

    def __init__(self, sessions: Callable[[], int], inside: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "mixroute_requests", "Requests by the model that was asked for.", ["model", "status"], registry=registry
        )
        self._steps = Counter(
            "mixroute_steps", "Answers by the model that wrote them.", ["model", "answered_by"], registry=registry
        )
        self._tokens = Counter(
            "mixroute_tokens", "Tokens of all calls, by model and kind.", ["model", "kind"], registry=registry
        )
        self._switches = Counter(
            "mixroute_switches", "Calls to another model than the session's call before.", registry=registry
        )
        self._seconds = Histogram(
            "mixroute_request_seconds", "From a request to its answer.", ["model"], registry=registry, buckets=_SECONDS
        )
        self._queue = Histogram(
            "mixroute_queue_seconds", "From a request to its turn.", registry=registry, buckets=_SECONDS
        )
        for name, text, tell in (
            ("mixroute_open_sessions", "Open sessions.", sessions),
            ("mixroute_open_requests", "Requests that are answered or wait.", inside),
        ):
            Gauge(name, text, registry=registry).set_function(tell)

    def request(self, model: str, status: int, seconds: float) -> None:
        """Count a request; ``model`` is one that is offered, or empty."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def turn(self, seconds: float) -> None:
        """Count what a request has waited."""
        self._queue.observe(seconds)

    def answer(self, answer: Answer) -> None:
        """Count an answer and its calls."""
        self._steps.labels(answer.model, answer.step.model).inc()
        for call in answer.step.calls:
            self._switches.inc(call.switch)
            for kind, count in (
                ("read", call.prompt_tokens - call.cached_tokens),
                ("cached", call.cached_tokens),
                ("written", call.decoded_tokens),
            ):
                self._tokens.labels(call.model, kind).inc(count)

    def page(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self._registry)
