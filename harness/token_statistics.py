"""Statistics of the tokens that a model decoded in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.numbers import bounded_mean


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """Statistics of consecutive tokens, of the model's own distribution at temperature 1.

    The means, the extremes and the perplexity raise ``ValueError`` where there is no token.
    """

    logprobs: tuple[float, ...]
    """Log-probability of each token, in nats."""
    entropies: tuple[float, ...]
    """Entropy of the distribution that each token was drawn from, in nats."""
    margins: tuple[float, ...]
    """Probability of the most likely token minus that of the second, at each place."""
    content_tokens: int
    """How many of the tokens make the text; the rest is the stop string or end-of-turn token."""

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.logprobs)

    def first(self, count: int) -> TokenStatistics:
        """Statistics of the first ``count`` tokens, or of all where there are fewer."""
        return TokenStatistics(
            self.logprobs[:count], self.entropies[:count], self.margins[:count], min(count, self.content_tokens)
        )

    def between(self, start: int, end: int) -> TokenStatistics:
        """Statistics of the tokens from ``start`` to before ``end``, all of which make the part's text."""
        part = slice(start, end)
        return TokenStatistics(self.logprobs[part], self.entropies[part], self.margins[part], max(0, end - start))

    @property
    def content(self) -> TokenStatistics:
        """Statistics of the tokens that make the text."""
        return self.first(self.content_tokens)

    @property
    def content_and_end(self) -> TokenStatistics:
        """Statistics of the tokens that make the text, and of the next one, which ended it, if there is one."""
        return self.first(self.content_tokens + 1)

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability, in nats."""
        return bounded_mean(self.logprobs)

    @property
    def min_logprob(self) -> float:
        """Smallest log-probability, in nats."""
        return min(self.logprobs)

    @property
    def perplexity(self) -> float:
        """Exponential of minus the mean log-probability; 1 or more."""
        return math.exp(-self.mean_logprob)

    @property
    def first_entropy(self) -> float:
        """Entropy of the first token, in nats."""
        if not self.entropies:
            raise ValueError("no token was decoded")
        return self.entropies[0]

    @property
    def mean_entropy(self) -> float:
        """Mean entropy, in nats."""
        return bounded_mean(self.entropies)

    @property
    def max_entropy(self) -> float:
        """Largest entropy, in nats."""
        return max(self.entropies)

    @property
    def mean_margin(self) -> float:
        """Mean margin, in [0, 1]."""
        return bounded_mean(self.margins)

    @property
    def min_margin(self) -> float:
        """Smallest margin, in [0, 1]."""
        return min(self.margins)
