"""BM25, bit by bit as Lucene 8 and 9 compute it: lengths of one byte, single precision.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; the parameters are
Anserini's. Ranks depend on the quantised lengths: with exact ones half of all top tens come out otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

K1 = 0.9
B = 0.4

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


def quantised(length: int) -> int:
    """The length that Lucene remembers of a document with ``length`` terms: exact to 39, then four significant bits."""
    if length < 24:
        return length
    rest = length - 24
    cut = max(rest.bit_length() - 4, 0)
    return 24 + (rest >> cut << cut)


def idf(documents: int, having: int) -> np.float32:
    """Weight of a term that ``having`` of ``documents`` have."""
    return np.float32(math.log(1 + (documents - having + 0.5) / (having + 0.5)))


def saturation(lengths: Integers, average: float) -> Floats:
    """Per document, the reciprocal of the K in ``tf / (tf + K)``.

    Args:
        lengths: Quantised lengths in terms, shape (documents,).
        average: Mean of the exact lengths.
    """
    single = np.float32
    relative = single(B) * lengths.astype(single) / single(average)
    result: Floats = single(1) / (single(K1) * ((single(1) - single(B)) + relative))
    return result


def contribution(weight: np.float32, counts: Floats, inverse: Floats) -> Floats:
    """Scores that a term adds to the documents that have it.

    Args:
        weight: The term's idf, times how often the query has it.
        counts: How often each of the documents has it, shape (documents,).
        inverse: Their ``saturation``, shape (documents,).
    """
    one = np.float32(1)
    result: Floats = weight - weight / (one + counts * inverse)
    return result


def best(scores: Floats, ranks: Integers, k: int) -> Integers:
    """Numbers of the ``k`` documents with the highest positive scores, best first; ties by ``ranks``."""
    found = np.flatnonzero(scores)
    if len(found) > k:
        threshold = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= threshold]
    order = np.lexsort((ranks[found], -scores[found]))
    result: Integers = found[order[:k]].astype(np.int32)
    return result
