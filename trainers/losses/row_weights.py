"""How much each row counts in the loss, by its category, its task's tokens, or a column of its own.

    900 rows of one class, 100 of another, {"class_weights": "balanced"}  ->  {1: 0.5556, 2: 5.0, ...}

Three factors a row: its class's (`class_weights`), what a person gave its category (`category_weights`), and the number
in a column of the source (`weight_column`). The products are scaled so that their mean is one: the rate needs no
change. No torch here.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.params.weights import category_weights
from studio.protocol import DatasetRef

WEIGHT = "row_weight"
"""The column of the data set, and the entry of a batch."""
TASK = "row_category"
"""Likewise, where a run tells each category's share of the loss."""


def row_weights(dataset: DatasetRef, tokens: Mapping[int, int], values: Mapping[str, Any]) -> dict[int, float]:
    """Row number -> weight, of the rows in `tokens`.

    Args:
        tokens: row number -> answer tokens, of the rows that are trained on.

    Raises:
        JobFailed: no_categories, unknown_categories, no_weight_column or bad_weight.
    """
    rows = _read_rows(dataset, list(tokens))
    categories = {row: each["category"] for row, each in rows.items()}
    found = dict.fromkeys(tokens, 1.0)
    balance, given, column = (values.get(name) for name in ("class_weights", "category_weights", "weight_column"))
    if balance in ("balanced", "balanced_tokens"):
        sizes = tokens if balance == "balanced_tokens" else dict.fromkeys(tokens, 1)
        _multiply(found, class_weights(dataset, categories, sizes))
    if given:
        _multiply(found, _given_weights(dataset, categories, category_weights(values)))
    if column:
        _multiply(found, _own_weights(dataset, rows, column))
    total = sum(found.values())
    if not total > 0:
        raise JobFailed("bad_weight", row=next(iter(found)), value=0, column=column or "category_weights")
    return {row: weight * len(found) / total for row, weight in found.items()}


def class_weights(
    dataset: DatasetRef, categories: Mapping[int, str | None], sizes: Mapping[int, int]
) -> dict[int, float]:
    """Row number -> weight; those without a category count as one.

    The weight of a class is all sizes / (classes x this one's), as in scikit-learn's `balanced`.

    Args:
        sizes: row number -> what of a class is to be alike: 1 for rows, or answer tokens, which the loss adds up.

    Raises:
        JobFailed: no_categories: the rows have fewer than two.
    """
    totals: Counter[str] = Counter()
    for row, category in categories.items():
        if category is not None:
            totals[category] += sizes[row]
    if len(totals) < 2:
        raise JobFailed("no_categories", dataset=dataset.name, version=dataset.version)
    total = sum(totals.values())
    factors = {category: total / (len(totals) * size) for category, size in totals.items()}
    return {row: factors.get(category, 1.0) for row, category in categories.items()}


def row_categories(dataset: DatasetRef, numbers: Sequence[int]) -> dict[int, str | None]:
    return {row: each["category"] for row, each in _read_rows(dataset, numbers).items()}


def _given_weights(
    dataset: DatasetRef, categories: Mapping[int, str | None], given: Mapping[str, float]
) -> dict[int, float]:
    unknown = sorted(set(given) - set(categories.values()))
    if unknown:
        known = sorted({category for category in categories.values() if category is not None})
        names = {"names": ", ".join(unknown), "known": ", ".join(known) or "–"}
        raise JobFailed("unknown_categories", dataset=dataset.name, version=dataset.version, **names)
    return {row: given.get(category, 1.0) for row, category in categories.items()}


def _own_weights(dataset: DatasetRef, rows: Mapping[int, Mapping[str, Any]], column: str) -> dict[int, float]:
    """The number in each row's own column; a row without one counts as one."""
    found, is_there = {}, False
    for row, each in rows.items():
        extra = json.loads(each["extra"]) if each.get("extra") else {}
        is_there |= column in extra
        found[row] = _as_weight(extra.get(column, 1.0), row, column)
    if not is_there:
        raise JobFailed("no_weight_column", dataset=dataset.name, version=dataset.version, column=column)
    return found


def _as_weight(value: Any, row: int, column: str) -> float:
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise JobFailed("bad_weight", row=row, value=str(value), column=column)
    return weight


def _multiply(found: dict[int, float], factors: Mapping[int, float]) -> None:
    for row in found:
        found[row] *= factors[row]


def _read_rows(dataset: DatasetRef, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    import pyarrow.parquet

    from studio.workshop.versions.manifest import ROWS

    path, wanted = Path(dataset.path) / ROWS, set(numbers)
    there = pyarrow.parquet.read_schema(path).names
    names = [name for name in ("row", "category", "extra") if name in there]
    table = pyarrow.parquet.read_table(path, columns=names)
    rows = {row["row"]: {"category": None} | row for row in table.to_pylist() if row["row"] in wanted}
    return {number: rows[number] for number in numbers}
