"""Writes a version's usable rows for use elsewhere: JSONL, Parquet or CSV, with a .dvc pointer and a manifest beside.

    export(version, Path("rows.csv"))  ->  rows.csv, rows.csv.dvc, rows.csv.manifest.json

Columns are those that trl reads for the version's format; `category` and `split` come along where there are any. The
.dvc file is what `dvc add` would write; the manifest is sorted JSON, a value a line, so that git shows what changed. A
cell of a CSV file that a spreadsheet would run as a formula gets an apostrophe in front, and is counted
(`formulas.py`); conversations are JSON text there, which needs none, and the other two formats keep every text.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.protocol import write_atomically
from studio.workshop import formulas
from studio.workshop.problems import closest
from studio.workshop.versions.layout import TRAINED_COLUMNS, Row, trained
from studio.workshop.versions.reader import ROWS, Manifest, iterate_rows, read_manifest
from studio.workshop.versions.remote import file_md5, pointer

FORMATS = {".jsonl": "jsonl", ".parquet": "parquet", ".csv": "csv"}
REPORT_EVERY_ROWS = 2000
_LABELS = ("category", "split")

Progress = Callable[[float, float, str], None]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote."""

    file: str
    dvc: str
    manifest_file: str
    format: str
    rows: int
    defused: int
    """Cells of a CSV file that were kept from being formulas."""


def export(
    version: Path, out: Path, *, format: str | None = None, progress: Progress = lambda done, total, unit: None
) -> Exported:
    """Write the rows to `out`, in `format` or what its name says.

    Raises:
        RefusedInput: an unknown format, or `out` cannot be written.
    """
    kind = check_format(format or FORMATS.get(out.suffix.lower(), "jsonl"))
    known = read_manifest(version)
    try:
        defused = {"jsonl": _jsonl, "parquet": _parquet, "csv": _csv}[kind](version, known, out, progress)
        return _beside(out, kind, known, defused)
    except OSError as error:
        raise RefusedInput("export.cannot_write", file=str(out), detail=error.strerror or str(error)) from error


def check_format(format: str) -> str:
    """
    Raises:
        RefusedInput: rows are not written so.
    """
    known = tuple(FORMATS.values())
    if format not in known:
        raise RefusedInput(
            "data.export.format", format=format, hint=closest(format, known) or known[0], known=", ".join(known)
        )
    return format


def _jsonl(version: Path, known: Manifest, out: Path, progress: Progress) -> int:
    rows = _with_progress(iterate_rows(version), known.rows, progress)
    with out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(_kept(row, known.format), ensure_ascii=False) + "\n" for row in rows)
    return 0


def _parquet(version: Path, known: Manifest, out: Path, progress: Progress) -> int:
    """Group by group as it lies there: types stay what they are."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(version / ROWS) as file:
        names = [name for name in _columns(known) if name in file.schema_arrow.names]
        schema = pyarrow.schema([file.schema_arrow.field(name) for name in names])
        with pyarrow.parquet.ParquetWriter(out, schema, compression="zstd") as writer:
            for index in range(file.num_row_groups):
                progress(index, file.num_row_groups, "steps")
                writer.write_table(file.read_row_group(index, columns=names))
    return 0


def _csv(version: Path, known: Manifest, out: Path, progress: Progress) -> int:
    columns, defused = _columns(known), 0
    # The mark tells spreadsheets that this is UTF-8; without it they read Chinese as something else.
    with out.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in _with_progress(iterate_rows(version), known.rows, progress):
            kept = _kept(row, known.format)
            cells = [_cell(kept.get(name)) for name in columns]
            safe = list(map(formulas.defused, cells))
            defused += sum(a != b for a, b in zip(cells, safe, strict=True))
            writer.writerow(safe)
    return defused


def _columns(known: Manifest) -> list[str]:
    labels = (("category", known.categories), ("split", known.splits))
    return [*TRAINED_COLUMNS[known.format], *(name for name, held in labels if held)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kept(row: Row, format: str) -> dict[str, Any]:
    labels = {name: getattr(row, name) for name in _LABELS}
    return trained(row, format) | {name: value for name, value in labels.items() if value is not None}


def _beside(out: Path, kind: str, known: Manifest, defused: int) -> Exported:
    """The pointer and the manifest, written last."""
    md5, size = file_md5(out), out.stat().st_size
    dvc, manifest = out.with_name(f"{out.name}.dvc"), out.with_name(f"{out.name}.manifest.json")
    write_atomically(dvc, pointer(md5, size=size, path=out.name).encode())
    document = msgspec.to_builtins(known) | {"file": out.name, "md5": md5, "size": size}
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    write_atomically(manifest, text.encode())
    return Exported(
        file=str(out), dvc=str(dvc), manifest_file=str(manifest), format=kind, rows=known.rows, defused=defused
    )


def _with_progress(rows: Iterator[Row], total: int, progress: Progress) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % REPORT_EVERY_ROWS == 0:
            progress(count, total, "rows")
    progress(total, total, "rows")
