"""How two versions of a data set differ: rows added, removed and changed, by row number and content.

    compare(v1, v2, folder)  ->  folder/report.json    {"added": 0, "removed": 1040, "changed": 2, "same": 8}
                                 folder/diff.parquet   row, kind, fields, before, after     (JSON text)

Both versions are read side by side, a stretch of row numbers at a time, so memory stays bounded. Used inside jobs and
commands only: it brings polars along.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet

from studio.protocol import write_struct
from studio.workshop.reports import DIFF, REPORT, DiffReport
from studio.workshop.versions.manifest import ROWS
from studio.workshop.versions.old_layouts import up_to_date

Progress = Callable[[float, float, str], None]

STRETCH = 50_000
"""Row numbers that are compared at once."""
GROUP_LINES = 500
ADDED, REMOVED, CHANGED = "added", "removed", "changed"
SCHEMA = pyarrow.schema(
    [("row", pyarrow.int64()), *((name, pyarrow.string()) for name in ("kind", "fields", "before", "after"))]
)


def compare(a: Path, b: Path, folder: Path, *, progress: Progress = lambda done, total, unit: None) -> DiffReport:
    """Write how version `b` differs from version `a`."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with pyarrow.parquet.ParquetWriter(folder / DIFF, SCHEMA, compression="zstd") as writer:
        stretches = list(_stretches(a, b))
        for place, (low, high) in enumerate(stretches):
            progress(place, len(stretches), "steps")
            differing, same = _differing(_part(a, low, high), _part(b, low, high))
            counts["same"] += same
            for (kind,), part in differing.group_by("kind", maintain_order=True):
                counts[kind] += part.height
                writer.write_table(
                    part.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA), row_group_size=GROUP_LINES
                )
    progress(len(stretches), len(stretches), "steps")
    made = DiffReport(**{name: counts[name] for name in (ADDED, REMOVED, CHANGED, "same")})
    write_struct(folder / REPORT, made)
    return made


def _stretches(a: Path, b: Path) -> Iterator[tuple[int, int]]:
    last = max(_last_row(a), _last_row(b))
    for low in range(1, last + 1, STRETCH):
        yield low, low + STRETCH - 1


def _last_row(version: Path) -> int:
    return pl.scan_parquet(version / ROWS).select(pl.col("row").max()).collect().item() or 0


def _part(version: Path, low: int, high: int) -> pl.DataFrame:
    chosen = pl.scan_parquet(version / ROWS).filter(pl.col("row").is_between(low, high))
    return up_to_date(chosen.drop("raw", strict=False).collect())


def _differing(a: pl.DataFrame, b: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The differing rows as lines of `SCHEMA`, by kind and row, and how many are the same."""
    columns = sorted((set(a.columns) | set(b.columns)) - {"row"})
    differs = {name: _column_differs(name, a, b) for name in columns}
    both = a.select("row", pl.lit(True).alias("_a"), *_renamed(a, columns, "a"))
    both = both.join(
        b.select("row", pl.lit(True).alias("_b"), *_renamed(b, columns, "b")), on="row", how="full", coalesce=True
    )
    both = both.with_columns(
        kind=pl.when(pl.col("_a").is_null())
        .then(pl.lit(ADDED))
        .when(pl.col("_b").is_null())
        .then(pl.lit(REMOVED))
        .when(pl.any_horizontal(list(differs.values())) if differs else pl.lit(False))
        .then(pl.lit(CHANGED))
    )
    lines = both.filter(pl.col("kind").is_not_null()).sort("kind", "row")
    same = both.height - lines.height
    is_changed = pl.col("kind") == CHANGED
    fields = pl.concat_list([pl.when(differ).then(pl.lit(name)) for name, differ in differs.items()]).list.drop_nulls()
    return lines.select(
        "row",
        "kind",
        fields=pl.when(is_changed).then(_json_list(fields)).otherwise(pl.lit("[]")),
        before=pl.when(pl.col("_a").is_not_null()).then(_json(a, columns, "a")),
        after=pl.when(pl.col("_b").is_not_null()).then(_json(b, columns, "b")),
    ), same


def _column_differs(name: str, a: pl.DataFrame, b: pl.DataFrame) -> pl.Expr:
    """A column that only one version has, or that has another type there, differs wherever it holds something."""
    if name in a.columns and name in b.columns:
        if a.schema[name] == b.schema[name]:
            return pl.col(f"a.{name}").ne_missing(pl.col(f"b.{name}"))
        return pl.col(f"a.{name}").is_not_null() | pl.col(f"b.{name}").is_not_null()
    return pl.col(f"a.{name}" if name in a.columns else f"b.{name}").is_not_null()


def _renamed(rows: pl.DataFrame, columns: list[str], side: str) -> list[pl.Expr]:
    return [pl.col(name).alias(f"{side}.{name}") for name in columns if name in rows.columns]


def _json(rows: pl.DataFrame, columns: list[str], side: str) -> pl.Expr:
    held = [pl.col(f"{side}.{name}").alias(name) for name in rows.columns if name in columns]
    return pl.struct(held).struct.json_encode()


def _json_list(names: pl.Expr) -> pl.Expr:
    return pl.lit("[") + names.list.eval(pl.lit('"') + pl.element() + pl.lit('"')).list.join(",") + pl.lit("]")
