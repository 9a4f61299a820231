"""For some vectors, one that is like them among others; used where all pairs would be too many.

matches(weights, 0.8, wanted=is_test, among=is_train)        ->  (vector -> its match or -1, vector -> cosine)
nearest(weights, tests, trains, enough=0.3)                  ->  the same for the vectors in `tests`, none left out
"""

import numpy as np
from scipy.sparse import csr_array

from studio.workshop.similarity.join import index, reaching, spans
from studio.workshop.similarity.vectors import Vectors

_WINDOWS = ((0, 8), (8, 64), (64, np.iinfo(np.int64).max))
"""Stretches of the lines under a term: most vectors that have a match have one among the first few."""
_FIRST_BLOCK, _CELLS = 1000, 1 << 24


def nodes(vectors: Vectors, kinds: np.ndarray) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """Texts of equal vector and equal kind (a whole number) as one.

    Returns:
        Weights of the nodes; text -> its node; node -> its first text.
    """
    key = vectors.of_text * (int(kinds.max(initial=0)) + 1) + kinds
    _, first, of_text = np.unique(key, return_index=True, return_inverse=True)
    return vectors.weights[vectors.of_text[first]], of_text, first


def matches(
    weights: csr_array,
    threshold: float,
    *,
    wanted: np.ndarray,
    among: np.ndarray,
    kinds: np.ndarray | None = None,
    enough: float = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """For each vector in `wanted` (a mask) the most like it in `among` (a mask) that reaches the threshold.

    Args:
        kinds: vectors of the same kind are no match; by default every vector is of its own kind.
        enough: a match at this cosine or above is taken; there may be a better one.

    Returns:
        Vector -> its match, -1 where there is none; vector -> the cosine, 0 where there is none.
    """
    kinds = np.arange(weights.shape[0]) if kinds is None else kinds
    best, match = np.zeros(len(kinds)), np.full(len(kinds), -1)
    found = index(weights, threshold)
    lines, others = np.flatnonzero(wanted[found.vectors]), np.flatnonzero(among[found.vectors])
    begin, end = (np.searchsorted(found.terms[others], found.terms[lines], side=side) for side in ("left", "right"))
    for first, last in _WINDOWS:
        is_open = best[found.vectors[lines]] < enough
        starts, ends = np.minimum(begin + first, end), np.minimum(begin + np.minimum(last, end - begin), end)
        for left, right in spans(starts, np.where(is_open, ends, starts)):
            left, right = lines[left], others[right]
            one, other = found.vectors[left], found.vectors[right]
            asked = (kinds[one] != kinds[other]) & (best[one] < enough)
            one, other, cosine = reaching(found, left[asked], right[asked])
            for here, there in ((one, other), (other, one)):
                better = wanted[here] & among[there] & (cosine > best[here])
                order = np.argsort(cosine[better], kind="stable")  # of several, the last assignment stands: the best
                here, there = here[better][order], there[better][order]
                best[here], match[here] = cosine[better][order], there
    return match, best


def nearest(
    weights: csr_array, vectors: np.ndarray, among: np.ndarray, *, enough: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each of `vectors` the most like it of `among` (both vector numbers); the search ends at `enough`.

    Returns:
        For each of `vectors` its match, -1 where none shares a term with it, and the cosine.
    """
    match, best = np.full(len(vectors), -1), np.zeros(len(vectors))
    start, size = 0, _FIRST_BLOCK
    is_open = np.flatnonzero(best < enough)
    while start < len(among) and len(is_open):
        block = among[start : start + size]
        others = weights[block].T.tocsr()
        step = max(1, _CELLS // len(block))
        for begin in range(0, len(is_open), step):
            here = is_open[begin : begin + step]
            cosine = weights[vectors[here]] @ others
            place = cosine.argmax(axis=1)
            value = cosine.max(axis=1).toarray().ravel()
            better = value > best[here]
            best[here[better]], match[here[better]] = value[better], block[place[better]]
        start, size = start + size, size * 2
        is_open = is_open[best[is_open] < enough]
    return match, best
