"""Shares of categories for the sides of a split, and whole groups of rows dealt out until the shares are filled.

quotas([90, 10], [0.1, 0.1])  ->  [[9, 1], [9, 1]]        side -> category -> rows
"""

from collections.abc import Iterator, Sequence

import numpy as np


def quotas(sizes: Sequence[int], shares: Sequence[float]) -> np.ndarray:
    """Rows for each side (one a share) and category; a category keeps at least one row back, for training.

    A side gets its share of all rows, at least one; where shares of categories are not whole, the largest rests win.
    """
    sizes = np.asarray(sizes)
    left = np.maximum(sizes - 1, 0)
    found = np.zeros((len(shares), len(sizes)), int)
    for side, share in enumerate(shares):
        if share <= 0:
            continue
        exact = sizes * share
        found[side] = np.minimum(np.floor(exact + 1e-9), left)
        missing = max(1, round(sizes.sum() * share)) - found[side].sum()
        for category in np.argsort(found[side] - exact, kind="stable"):
            if missing > 0 and found[side, category] < left[category] and sizes[category] * share > 0:
                found[side, category] += 1
                missing -= 1
        left -= found[side]
    return found


def assign(groups: np.ndarray, categories: np.ndarray, wanted: np.ndarray, only_train: np.ndarray) -> np.ndarray:
    """Row -> 0, or 1 + the side in `wanted` that it goes to; rows of a group go together.

    Args:
        groups: row -> number of its group, from 0, in the order in which they are dealt out.
        categories: row -> number of its category.
        wanted: side -> category -> rows.
        only_train: mask of rows that keep their whole group on side 0.
    """
    place = np.zeros(int(groups.max(initial=-1)) + 1, int)
    barred = np.zeros(len(place), bool)
    barred[groups[only_train]] = True
    need = wanted.astype(int).tolist()
    trains = np.bincount(categories, minlength=wanted.shape[1]).tolist()
    for fits in (_fits, _helps):
        for group, parts in _parts(groups, categories, barred | (place > 0)):
            if not any(map(any, need)):
                break
            for side, rest in enumerate(need):
                if fits(rest, parts) and all(trains[category] > count for category, count in parts):
                    place[group] = side + 1
                    for category, count in parts:
                        rest[category] = max(0, rest[category] - count)
                        trains[category] -= count
                    break
    return place[groups]


Parts = list[tuple[int, int]]
"""Category and number of rows, of one group."""


def _fits(rest: list[int], parts: Parts) -> bool:
    return all(count <= rest[category] for category, count in parts)


def _helps(rest: list[int], parts: Parts) -> bool:
    """Too many rows, but nearer to the wanted number than without them."""
    return sum(rest[category] - abs(rest[category] - count) for category, count in parts) > 0


def _parts(groups: np.ndarray, categories: np.ndarray, left_out: np.ndarray) -> Iterator[tuple[int, Parts]]:
    width = int(categories.max(initial=0)) + 1
    keys, counts = np.unique(groups * width + categories, return_counts=True)
    kept = ~left_out[keys // width]
    group, parts = -1, []
    for key, count in zip(keys[kept].tolist(), counts[kept].tolist(), strict=True):
        if key // width != group:
            if parts:
                yield group, parts
            group, parts = key // width, []
        parts.append((key % width, count))
    if parts:
        yield group, parts
