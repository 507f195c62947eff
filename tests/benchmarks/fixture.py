"""The type of pytest-benchmark's fixture, which has none of its own."""

from collections.abc import Callable
from typing import Any, Protocol


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here; ``stats`` is None where benchmarks are switched off."""

    stats: Any
    extra_info: dict[str, float]

    def pedantic(
        self,
        target: Callable[..., object],
        args: tuple[object, ...] = (),
        *,
        setup: Callable[[], object] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
    ) -> Any: ...
