"""Which vectors hang together: clusters connected by pairs at or above a cosine.

    a ~ b, b ~ c, d alone  ->  [0, 0, 0, 3]        each vector -> the first vector of its cluster

Many near-identical vectors make many more pairs than vectors. So all vectors under a term
are first compared with one of them; after that only pairs of two different clusters are looked at.
"""

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from studio.workshop.similarity.join import Index, index, reaching, spans

_TIES = 4
"""How often all vectors under a term are compared with one of them, picked at random."""
_TIE_LINES = 1 << 20


def clusters(weights: csr_array, threshold: float) -> np.ndarray:
    """Each vector's cluster, named by its first vector."""
    cluster = np.arange(weights.shape[0])
    found = index(weights, threshold)
    random = np.random.default_rng(0)
    for _ in range(_TIES):
        cluster = _tied(found, cluster, random)
    found = found.lines(np.lexsort((cluster[found.vectors], found.terms)))
    for left, right in spans(*_foreign_lines(found, cluster)):
        foreign = cluster[found.vectors[left]] != cluster[found.vectors[right]]
        cluster = merged(cluster, *reaching(found, left[foreign], right[foreign])[:2])
    return cluster


def merged(cluster: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The clusters once each of `left` belongs with its partner in `right`."""
    names, place = np.unique(cluster[np.concatenate([left, right])], return_inverse=True)
    one, other = np.split(place, 2)
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(names), len(names)))
    _, part = connected_components(links, directed=False)
    _, first = np.unique(part, return_index=True)
    renamed = np.arange(len(cluster))
    renamed[names] = names[first[part]]
    return renamed[cluster]


def _tied(found: Index, cluster: np.ndarray, random: np.random.Generator) -> np.ndarray:
    firsts = np.flatnonzero(np.diff(found.terms, prepend=-1))
    counts = np.diff(firsts, append=len(found.terms))
    hubs = np.repeat(firsts + random.integers(0, counts), counts)
    for begin in range(0, len(hubs), _TIE_LINES):
        lines = np.arange(begin, min(begin + _TIE_LINES, len(hubs)))
        lines = lines[cluster[found.vectors[lines]] != cluster[found.vectors[hubs[lines]]]]
        cluster = merged(cluster, *reaching(found, hubs[lines], lines)[:2])
    return cluster


def _foreign_lines(found: Index, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each line, where its term's lines of later clusters begin, and where they end."""
    names = cluster[found.vectors]
    is_last = np.append((np.diff(found.terms) != 0) | (np.diff(names) != 0), True)[: len(names)]
    block_ends = np.flatnonzero(is_last) + 1
    starts = np.repeat(block_ends, np.diff(block_ends, prepend=0))
    return starts, np.searchsorted(found.terms, found.terms, side="right")
