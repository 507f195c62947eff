"""What a backend offers, and the completion cache that it may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from harness.data import Completion, GivenAnswer, MemoryEstimate, ModelCard, Prompt, Request, ScoredToken


class Backend(Protocol):
    """Runs one model of a pool. Constructed as ``Backend(name, spec, deterministic=…)``; see ``harness.pool``.

    Its class may derive from ``BackendTraits`` to state more; one that can reuse completions is a
    ``SupportsCompletionCache``, one that can judge given answers a ``SupportsScoring``.
    """

    async def generate(self, request: Request) -> Completion:
        """Answer one request; many may be in flight, and the backend batches them."""
        ...

    def release(self, session: str) -> None:
        """The session's episode is over: free its key-value cache."""
        ...

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        ...

    def close(self) -> None:
        """Stop threads and free the weights."""
        ...


class BackendTraits:
    """Optional part of a backend: what its class states before a model is loaded, with the defaults of a class that
    does not derive from this one. It is asked on machines where the backend is not installed, so a module that defines
    it imports the packages in ``required_packages`` only inside functions.
    """

    required_packages: ClassVar[tuple[str, ...]] = ()
    """Top-level packages that the backend imports and that may not be installed."""
    install_hint: ClassVar[str] = ""
    """How to install them: a command, or a page that says it."""
    supports_random_weights: ClassVar[bool] = False
    """Whether it runs a model with ``weights: random``, whose weights are initialised at random for its ``shape``."""

    @classmethod
    def estimate_memory(cls, shape: str | None, options: Mapping[str, Any]) -> MemoryEstimate | None:
        """Memory that a model will take on this machine; by default none.

        Args:
            shape: File with the model's configuration, if its pool names one.
            options: The model's options in the pool file, unchecked.

        Returns:
            The estimate; None if it takes a ``shape`` and there is none.

        Raises:
            MixrouteError: the shape cannot be read, or an option is wrong.
        """
        return MemoryEstimate()


class CompletionStore(Protocol):
    """A store of greedy completions, which are reused instead of computed once more."""

    async def get_or_compute(self, key: bytes, compute: Callable[[], Awaitable[Completion]]) -> Completion:
        """The completion stored under ``key``, marked as reused, or a new one from ``compute``, which is stored."""
        ...


@runtime_checkable
class SupportsCompletionCache(Protocol):
    """A backend that can reuse greedy completions instead of computing them once more."""

    def use_cache(self, store: CompletionStore) -> None:
        """Look up completions in ``store`` before computing, and store those that are computed. Keys are made by
        ``harness.backends.completion_cache.completion_key``.
        """
        ...


@runtime_checkable
class SharesCache(Protocol):
    """A backend whose model can share the key-value cache of each session with other models."""

    def share_cache(self, others: Mapping[str, Backend], reread: int) -> None:
        """Share one cache with other models, before any of them is asked; called on one of them.

        Afterwards whoever is asked reads what none of them has read of the session, and always the last turn itself;
        ``cached_tokens`` counts what any of them has read. See docs/architecture.md, One cache for several models.

        Args:
            others: The other models, by name.
            reread: Turns before the last one that a model must have read itself.

        Raises:
            MixrouteError: they cannot share one; it says why, or what differs.
        """
        ...


@runtime_checkable
class DescribesPrompts(Protocol):
    """A backend that may change prompts before its model reads them, as for a chat template without a system role."""

    def prompt_notes(self, prompt: Prompt) -> Mapping[str, str]:
        """What is done to prompts like this one, in words, by subject; empty if nothing is. It is recorded in the
        protocol of a run.
        """
        ...


@runtime_checkable
class ChecksPrompts(Protocol):
    """A backend that can tell before play whether its model reads a prompt."""

    def check_prompt(self, prompt: Prompt, max_tokens: int) -> None:
        """Check that a prompt can be rendered, and leaves room for an answer of ``max_tokens``.

        Raises:
            MixrouteError: it cannot, or does not; also an ``EpisodeError`` may say so.
        """
        ...


@runtime_checkable
class SupportsScoring(Protocol):
    """A backend that can say what its model thinks of given answers: ``mixroute verify --audit`` needs it."""

    async def score(self, answers: Sequence[tuple[Request, GivenAnswer]]) -> Sequence[tuple[ScoredToken, ...] | None]:
        """Score the tokens of answers to requests, those of the stop string or end of turn included.

        A text is given in its tokenizer's canonical tokens. The sampling fields of a request are ignored.

        Returns:
            For each answer its tokens; None where the canonical tokens are not as many as the answer has, or do not
            fit the model.
        """
        ...
