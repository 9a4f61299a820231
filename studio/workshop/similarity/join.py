"""All pairs of vectors at or above a cosine, exactly, and without comparing every vector with every other.

    weights of 20,000 rows, 0.95  ->  (left, right, cosine) of every pair at 0.95 or more, left < right

Three bounds, each dearer than the one before and asked only of what that one left over; none loses a pair:

1. Terms go from rarest to most frequent. Let `w` be the rarest term that two vectors of length 1 share: what stands
   before it adds nothing, so their cosine is at most `a a' + b b'`, where `a` is a vector's weight at `w` and `b` the
   length of what follows. It can reach the threshold only where `hypot(a, b)` does in both. So a vector has to be found
   only under those first terms, its prefix (Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007).
2. Of two vectors found under one term, `a a' + b b'`.
3. The product of two sketches: the most frequent terms' weights as they are, all others gathered into a few lengths
   (a part's product is never more than the product of its lengths). Frequent terms fill most of a long text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

SLACK = 1e-9
"""A cosine counts as reaching the threshold from so little below: sums of floats are not exact to the last digit."""
BATCH_PAIRS = 1 << 18
_SKETCH_SLACK = 1e-5
_MOST_OWN, _GATHERED = 48, 16
_BLOCK_WEIGHTS = 8 << 20

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Left vectors, right vectors, cosines."""


@dataclass(frozen=True)
class Index:
    """Which vectors are found under which term: one entry a line, all lines of a term together."""

    weights: csr_array
    sketches: np.ndarray
    threshold: float
    terms: np.ndarray
    vectors: np.ndarray
    heads: np.ndarray
    """The vector's weight at the term."""
    rests: np.ndarray
    """Length of the vector's part after the term."""

    def lines(self, chosen: np.ndarray) -> "Index":
        """Only the lines `chosen` (a mask, or numbers in their new order)."""
        columns = ("terms", "vectors", "heads", "rests")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})


def index(weights: csr_array, threshold: float) -> Index:
    """Every vector under its prefix's terms; terms that lead to one vector alone are left out."""
    blocks = [_prefixes(weights, start, end, threshold) for start, end in _blocks(weights)]
    terms, vectors, heads, rests = (np.concatenate(column) for column in zip(*blocks, strict=True))
    shared = np.flatnonzero(np.bincount(terms, minlength=weights.shape[1])[terms] > 1)
    order = shared[np.argsort(terms[shared], kind="stable")]
    return Index(weights, _sketches(weights), threshold, terms, vectors, heads, rests).lines(order)


def pairs(weights: csr_array, threshold: float) -> Pairs:
    """Every pair at `threshold` or above, left < right, sorted by left, then right."""
    found = index(weights, threshold)
    ends = np.searchsorted(found.terms, found.terms, side="right")
    batches = [reaching(found, left, right) for left, right in spans(np.arange(len(ends)) + 1, ends)]
    if not batches:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    left, right, cosine = (np.concatenate(column) for column in zip(*batches, strict=True))
    _, first = np.unique(left * weights.shape[0] + right, return_index=True)
    return left[first], right[first], cosine[first]


def spans(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each number i with each of starts[i] .. ends[i] - 1, as two arrays, a batch at a time."""
    numbers = np.flatnonzero(ends > starts)
    starts, lengths = starts[numbers], (ends - starts)[numbers]
    totals = np.cumsum(lengths)
    for begin, end in _batches(totals, BATCH_PAIRS):
        counts = lengths[begin:end]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(numbers[begin:end], counts), np.repeat(starts[begin:end], counts) + offsets


def reaching(found: Index, left: np.ndarray, right: np.ndarray) -> Pairs:
    """Of these pairs of lines, each of one term: the vectors that reach the threshold, each pair once, left < right."""
    bound = found.heads[left] * found.heads[right] + found.rests[left] * found.rests[right]
    possible = bound >= found.threshold - SLACK
    one, other = found.vectors[left[possible]], found.vectors[right[possible]]
    bound = np.einsum("ij,ij->i", found.sketches[one], found.sketches[other])
    possible = bound >= found.threshold - _SKETCH_SLACK
    one, other = one[possible], other[possible]
    size = found.weights.shape[0]
    one, other = np.divmod(np.unique(np.minimum(one, other) * size + np.maximum(one, other)), size)
    cosine = cosines(found.weights, one, other)
    reaches = cosine >= found.threshold - SLACK
    return one[reaches], other[reaches], cosine[reaches]


def cosines(weights: csr_array, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The cosine of each pair of vectors."""
    lengths = np.diff(weights.indptr)
    found = np.empty(len(left))
    for begin, end in _batches(np.cumsum(lengths[left] + lengths[right]), _BLOCK_WEIGHTS):
        found[begin:end] = weights[left[begin:end]].multiply(weights[right[begin:end]]).sum(axis=1)
    return found


def _prefixes(weights: csr_array, start: int, end: int, threshold: float) -> tuple[np.ndarray, ...]:
    """Terms, vectors, heads and rests of the prefixes of the vectors `start` to `end`."""
    begin, stop = weights.indptr[start], weights.indptr[end]
    lengths = np.diff(weights.indptr[start : end + 1])
    heads = weights.data[begin:stop]
    squares = heads * heads
    through = np.cumsum(squares)  # of all vectors so far, this weight included
    whole = np.concatenate([[0], through])[np.cumsum(lengths)]
    rests = np.repeat(whole, lengths) - through
    is_prefix = np.flatnonzero(rests + squares >= threshold * threshold - SLACK)
    vectors = np.repeat(np.arange(start, end), lengths)[is_prefix]
    return weights.indices[begin:stop][is_prefix], vectors, heads[is_prefix], np.sqrt(np.maximum(rests[is_prefix], 0))


def _sketches(weights: csr_array) -> np.ndarray:
    """(vectors, places), float32: see the third bound above."""
    size, num_terms = weights.shape
    from_last = np.arange(num_terms)[::-1]
    own = min(_MOST_OWN, weights.nnz // max(1, size))
    place = np.where(from_last < own, from_last, own + from_last % _GATHERED)
    width = own + _GATHERED
    sketches = np.empty((size, width), np.float32)
    for start, end in _blocks(weights):
        begin, stop = weights.indptr[start], weights.indptr[end]
        vectors = np.repeat(np.arange(end - start), np.diff(weights.indptr[start : end + 1]))
        squares = weights.data[begin:stop] ** 2
        sums = np.bincount(vectors * width + place[weights.indices[begin:stop]], squares, (end - start) * width)
        sketches[start:end] = np.sqrt(sums).reshape(-1, width)
    return sketches


def _blocks(weights: csr_array) -> list[tuple[int, int]]:
    """Stretches of vectors whose weights fit into memory once more."""
    return list(_batches(weights.indptr[1:], _BLOCK_WEIGHTS)) or [(0, 0)]


def _batches(totals: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `most`, but at least one, given the running totals of sizes."""
    begin = 0
    while begin < len(totals):
        done = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + most, side="right")))
        yield begin, end
        begin = end
