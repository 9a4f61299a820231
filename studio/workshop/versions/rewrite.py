"""A version made from a whole table: what cleaning, splitting, augmenting and mixing end with.

    write_version(folder, parent=v1, rows=cleaned, excluded=removed, steps=[...])  ->  the manifest of v2

`rows` has no source text; that is taken from the parent by row number. Every row of the parent is in `rows`, or in
`excluded` with the finding that took it out, or was a problem before: none can get lost on the way.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.workshop.converting.plain import plain_texts, source_text
from studio.workshop.problems import EXCLUDED
from studio.workshop.versions.layout import TRAINED_COLUMNS, row_of, schema
from studio.workshop.versions.manifest import PROBLEMS, ROWS, Manifest, Step, read_manifest
from studio.workshop.versions.old_layouts import up_to_date
from studio.workshop.versions.writer import VersionWriter

if TYPE_CHECKING:
    import polars as pl

SLICE_ROWS = 1000


class RowsUnaccountedFor(Exception):
    """A step lost, invented or doubled rows: a fault of the program, never of the data."""


def write_version(
    folder: Path,
    *,
    parent: Path,
    rows: "pl.DataFrame",
    excluded: "pl.DataFrame",
    steps: list[Step],
    format: str | None = None,
    **changed: Any,
) -> Manifest:
    """Write a version of `rows` in their order; `excluded` (row, code, field, values) joins the parent's problems.

    Args:
        rows: the parent's format and columns without `raw`; rows that the parent does not have are new, have numbers
            above all of its own and say in `origin` how they came.
        excluded: one line or more for each row taken out; `values` is the JSON text of an object, or null.
        steps: what was done since the parent.
        format: of the rows, where all of them are new and it is not the parent's.
        changed: fields of the manifest that are not the parent's.

    Raises:
        RowsUnaccountedFor: a row of the parent is in neither or in both, or a new row has no origin.
    """
    import polars as pl

    known = read_manifest(parent)
    _check_accounts(pl.read_parquet(parent / ROWS, columns=["row"])["row"], rows, excluded)
    format = format or known.format
    rows = _completed(rows, format)
    writer = VersionWriter(folder, format=format)
    try:
        for part, source in _with_source(rows, parent):
            writer.add_batch(_batch(part, source, known, format))
        for problems in _all_problems(parent, excluded, known):
            writer.add_problems(problems)
    finally:
        writer.close()
    fields = {
        "shape": known.shape,
        "columns": known.columns,
        "source": known.source,
        "parent": known.content_hash,
        "steps": [*known.steps, *steps],
        "blank_lines": known.blank_lines,
        "speakers": known.speakers,
    }
    return writer.finish(**fields | changed)


def _check_accounts(before: "pl.Series", rows: "pl.DataFrame", excluded: "pl.DataFrame") -> None:
    import polars as pl

    kept, out = rows["row"], excluded["row"].unique()
    new = rows.filter(~pl.col("row").is_in(before.implode()))
    lost = before.filter(~before.is_in(kept.implode()) & ~before.is_in(out.implode()))
    without_origin = new["row"] if "origin" not in new.columns else new.filter(pl.col("origin").is_null())["row"]
    faults = {
        "lost": lost,
        "kept and excluded": out.filter(out.is_in(kept.implode())),
        "excluded but unknown": out.filter(~out.is_in(before.implode())),
        "twice": kept.filter(kept.is_duplicated()),
        "new without origin": without_origin,
    }
    found = {what: numbers.head(5).to_list() for what, numbers in faults.items() if len(numbers)}
    if found:
        raise RowsUnaccountedFor(found)


def _completed(rows: "pl.DataFrame", format: str) -> "pl.DataFrame":
    """All columns of the layout but `raw`, in order and of their types; what was not there is null."""
    import polars as pl

    empty = pl.from_arrow(schema(format).empty_table()).drop("raw")
    missing = [pl.lit(None, kind).alias(name) for name, kind in empty.schema.items() if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in empty.schema.items())


def _with_source(rows: "pl.DataFrame", parent: Path) -> Iterator[tuple["pl.DataFrame", "pl.DataFrame"]]:
    """Slices of `rows`, each with the lines of the parent that it came from, joined in the slice's order."""
    lines = _forward(parent, rows) if rows["row"].is_sorted() else _anywhere(parent, rows)
    for part, found in lines:
        yield part, part.select("row").join(found, on="row", how="left", maintain_order="left")


def _forward(parent: Path, rows: "pl.DataFrame") -> Iterator[tuple["pl.DataFrame", "pl.DataFrame"]]:
    """In row order, each batch of the parent is read once and forgotten."""
    import polars as pl

    at = 0
    for batch in _batches(parent / ROWS):
        if not batch["row"].is_sorted() or (at and batch["row"][0] < rows["row"][at - 1]):
            yield from _anywhere(parent, rows[at:])
            return
        end = at + int((rows["row"][at : at + 2 * SLICE_ROWS] <= batch["row"][-1]).sum())
        if end > at:
            yield rows[at:end], batch
        at = end
    for new in rows[at:].iter_slices(SLICE_ROWS):
        yield new, pl.DataFrame(schema=batch.schema)


def _anywhere(parent: Path, rows: "pl.DataFrame") -> Iterator[tuple["pl.DataFrame", "pl.DataFrame"]]:
    """In any other order the parent is held in memory, source texts and all."""
    import polars as pl

    whole = up_to_date(pl.read_parquet(parent / ROWS))
    for part in rows.iter_slices(SLICE_ROWS):
        yield part, part.select("row").join(whole, on="row", how="inner")


def _batches(table: Path) -> Iterator["pl.DataFrame"]:
    import polars as pl
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(table) as file:
        for batch in file.iter_batches(batch_size=SLICE_ROWS, use_threads=False):
            yield up_to_date(pl.from_arrow(batch))


def _batch(part: "pl.DataFrame", source: "pl.DataFrame", known: Manifest, format: str) -> Any:
    """The slice as a record batch of the layout, with the source text of every row that its columns no longer tell."""
    import polars as pl

    changed = pl.repeat(False, part.height, eager=True)
    for name in (*TRAINED_COLUMNS[format], "extra", "category"):
        if name in source.columns:
            changed |= part[name].ne_missing(source[name].cast(part.schema[name]))
    raw = source["raw"].to_list()
    is_new = part["origin"].is_not_null()
    for index in (changed & source["raw"].is_null() & ~is_new).arg_true():
        raw[index] = source_text(row_of(source.row(index, named=True), known.format), known)
    table = part.with_columns(pl.Series("raw", raw, pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(schema(format)).combine_chunks().to_batches()[0]


def _all_problems(parent: Path, excluded: "pl.DataFrame", known: Manifest) -> Iterator["pl.DataFrame"]:
    """The parent's problems and the excluded rows, by row number where the parent is in that order."""
    import polars as pl

    old = (batch for batch in _batches(parent / PROBLEMS) if batch.height)
    waiting = next(old, None)
    for new in _new_problems(parent, excluded, known):
        parts, last = [new], new["row"].max()
        while waiting is not None and waiting["row"][0] < last:
            is_before = waiting["row"] < last
            parts.append(waiting.filter(is_before))
            waiting = next(old, None) if is_before.all() else waiting.filter(~is_before)
        yield pl.concat(parts, how="diagonal_relaxed").sort("row", maintain_order=True)
    while waiting is not None:
        yield waiting
        waiting = next(old, None)


def _new_problems(parent: Path, excluded: "pl.DataFrame", known: Manifest) -> Iterator["pl.DataFrame"]:
    import polars as pl

    reasons = excluded.select("row", "code", pl.col("field").fill_null(""), pl.col("values").fill_null("{}"))
    for batch in _batches(parent / ROWS):
        gone = batch.filter(pl.col("row").is_in(reasons["row"].implode()))
        if gone.height:
            source = gone.select("row", _source_texts(gone, known).alias("raw"))
            found = reasons.join(source, on="row", how="inner", maintain_order="right_left")
            yield found.with_columns(pl.lit(EXCLUDED).alias("state"), pl.lit(None, pl.Int64).alias("offset"))


def _source_texts(rows: "pl.DataFrame", known: Manifest) -> "pl.Series":
    """The source rows as JSON text, told by the columns where they were not stored."""
    import polars as pl

    texts = rows.select(pl.coalesce("raw", plain_texts(rows, known))).to_series()
    missing = texts.is_null().arg_true()
    told = (row_of(rows.row(index, named=True), known.format) for index in missing)
    return texts.scatter(missing, [source_text(fields, known) for fields in told]) if len(missing) else texts
