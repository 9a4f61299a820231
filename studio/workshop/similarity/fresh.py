"""Which of some new texts are unlike all that is there already, and unlike each other.

fresh(["Where is it?", "Who are you?"], [1, 2], ["who are you", "Where is it, please?"], [1, 1])  ->  [False, True]

A new text may be like the known ones of its own group (the row that it was made from), but not the same; of new texts
that are like each other the first is taken.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from studio.workshop.similarity import vectors as tfidf

_BLOCK = 512


def fresh(
    known: pl.Series, known_groups: Sequence[int], new: pl.Series, new_groups: Sequence[int], *, threshold: float = 0.95
) -> list[bool]:
    """New text -> whether it is taken.

    Args:
        known_groups, new_groups: the group of each text.
    """
    if not len(new):
        return []
    vectors = tfidf.of_texts([known, new])
    groups = np.array([*known_groups, *new_groups])
    is_there = np.zeros(len(groups), bool)
    is_there[: len(known)] = True
    weights = vectors.weights[vectors.of_text]
    texts = [*known.to_list(), *new.to_list()]
    same = {text.strip() for text in known}
    for begin in range(len(known), len(groups), _BLOCK):
        end = min(begin + _BLOCK, len(groups))
        alike = (weights[begin:end] @ weights.T).tocsr()
        for place in range(begin, end):
            line = slice(*alike.indptr[place - begin : place - begin + 2])
            near = alike.indices[line][alike.data[line] >= threshold - 1e-9]
            near = near[is_there[near] & ((groups[near] != groups[place]) | (near >= len(known)))]
            is_there[place] = not len(near) and texts[place].strip() not in same
            same.add(texts[place].strip())
    return is_there[len(known) :].tolist()
