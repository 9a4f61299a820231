"""Writes a data set version in one streaming pass and bounded memory.

    rows.parquet       row, the trained columns, extra, category, split, origin, raw     rows that training gets
    problems.parquet   row, code, field, values, raw, state, offset                      one line a fault, in row order
    manifest.json      written last: its existence means the version is whole

`raw` is null where the source row can be told from the other columns (`plain.py`).
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from studio.protocol import utc_now, write_struct
from studio.workshop.converting.plain_chats import PlainChats
from studio.workshop.converting.quick import QuickRow
from studio.workshop.problems import EXCLUDED, OPEN, Problem
from studio.workshop.versions.content_hash import ContentHash
from studio.workshop.versions.layout import MESSAGES, TRAINED_COLUMNS, TrainingRow, Turns, columns_for, schema
from studio.workshop.versions.manifest import LAYOUT, MANIFEST, PROBLEMS, ROWS, Manifest

if TYPE_CHECKING:
    import polars as pl

GROUP_ROWS, GROUP_CHARACTERS = 2000, 4 << 20
"""A row group is the least that reading one page costs, and the most that writing holds in memory."""
COMPRESSION, COMPRESSION_LEVEL = "zstd", 1
"""Of source texts, which are seldom read. What is trained lies open: packing it would cost as much as reading and
checking it, and every cleaning step and training run would unpack it again (`tests/bench/import_speed.py`)."""
MAX_SPEAKERS = 1000
"""So many different speakers are counted; a file with more has something else in that place."""

_encode = msgspec.json.Encoder().encode


class VersionWriter:
    """Writes a version folder row by row, or batch by batch; `finish` makes it whole."""

    def __init__(self, folder: Path, *, format: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.format = format
        self.problems = self.excluded = 0
        self.speakers: Counter[str] = Counter()
        self._trained = TRAINED_COLUMNS[format]
        self._rows = _RowsFile(folder / ROWS, format)
        self._problems = _ProblemsFile(folder / PROBLEMS)
        self._codes: Counter[str] = Counter()
        self._last_problem: int | None = None

    @property
    def rows(self) -> int:
        return self._rows.count

    def add(
        self, row: int, raw: str | None, made: TrainingRow, *, split: str | None = None, origin: str | None = None
    ) -> None:
        """One usable row; `raw` is None where `plain.py` can tell it from the rest."""
        values = {name: getattr(made, name) for name in self._trained}
        values |= {"extra": made.extra, "category": made.category, "split": split, "origin": origin, "raw": raw}
        self._rows.add(row, values, len(raw) if raw else len(str(made)))

    def add_plain(self, row: int, made: QuickRow, size: int) -> None:
        """A row of nothing but speakers and texts, whose source text `plain.py` can tell, or which brings it along."""
        self._rows.add_plain(row, made, size)

    def add_chats(self, numbers: list[int], chats: PlainChats, size: int) -> None:
        """Many chats of nothing but speakers and texts; `size` in bytes of the source."""
        self._rows.add_chats(numbers, chats, size)

    def add_batch(self, batch: Any) -> None:
        """Rows that are laid out already: a record batch of `layout.schema`."""
        self._rows.write(batch)

    def add_problem(self, problem: Problem) -> None:
        """Faults of one row follow one another; the row is counted once."""
        if problem.row != self._last_problem:
            self._last_problem = problem.row
            self.problems += problem.state == OPEN
            self.excluded += problem.state == EXCLUDED
        if problem.state == OPEN:
            self._codes[problem.code] += 1
        self._problems.add(problem)

    def add_problems(self, problems: "pl.DataFrame") -> None:
        """Many at once: a table with the columns of problems.parquet."""
        import polars as pl

        firsts = problems.filter(pl.col("row").ne_missing(pl.col("row").shift(fill_value=self._last_problem)))
        states = dict(firsts["state"].value_counts().iter_rows())
        self.problems += states.get(OPEN, 0)
        self.excluded += states.get(EXCLUDED, 0)
        self._codes.update(dict(problems.filter(state=OPEN)["code"].value_counts().iter_rows()))
        self._last_problem = problems["row"].tail(1).item() if problems.height else self._last_problem
        self._problems.write(problems)

    def finish(self, **known: Any) -> Manifest:
        """Close both tables, then write the manifest with the `known` rest of its fields."""
        self.close()
        manifest = Manifest(
            format=self.format,
            source_rows=self.rows + self.problems + self.excluded,
            rows=self.rows,
            problems=self.problems,
            excluded=self.excluded,
            problem_codes=dict(self._codes.most_common()),
            content_hash=self._rows.hash.hexdigest(),
            created_at=utc_now(),
            splits=dict(self._rows.splits),
            categories=len(self._rows.categories),
            layout=LAYOUT,
            **{"speakers": dict(self.speakers.most_common(MAX_SPEAKERS))} | known,
        )
        write_struct(self.folder / MANIFEST, manifest)
        return manifest

    def close(self) -> None:
        self._rows.close()
        self._problems.close()


class _RowsFile:
    """rows.parquet: rows collected column by column, written as row groups of bounded size."""

    def __init__(self, path: Path, format: str) -> None:
        import pyarrow.parquet

        self.count = 0
        self.hash = ContentHash(format)
        self.splits: Counter[str] = Counter()
        self.categories: set[str] = set()
        self._format = format
        self._schema = schema(format)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, **_options(format))
        self._begin()

    def _begin(self) -> None:
        self._columns = columns_for(self._format, self._schema)
        self._numbers: list[int] = []
        self._size = 0

    def add(self, row: int, values: dict[str, Any], size: int) -> None:
        place = len(self._numbers)
        for name, value in values.items():
            column = self._columns[name]
            if isinstance(column, Turns):
                column.add(value)
            else:
                column.put(place, value)
        self._end_rows([row], size)

    def add_plain(self, row: int, made: QuickRow, size: int) -> None:
        columns, place = self._columns, len(self._numbers)
        if made.roles:
            columns["messages"].add_plain([made.roles], made.contents)
        else:
            columns["prompt"].put(place, made.contents[0])
            columns["completion"].put(place, made.contents[1])
        if made.extra:
            columns["extra"].put(place, made.extra)
        if made.category:
            columns["category"].put(place, made.category)
        if made.raw:
            columns["raw"].put(place, made.raw)
        self._end_rows([row], size)

    def add_chats(self, numbers: list[int], chats: PlainChats, size: int) -> None:
        self._columns["messages"].add_plain(chats.roles, chats.contents)
        self._end_rows(numbers, size)

    def _end_rows(self, numbers: list[int], size: int) -> None:
        self._numbers += numbers
        self._size += size
        if len(self._numbers) >= GROUP_ROWS or self._size >= GROUP_CHARACTERS:
            self._flush()

    def write(self, batch: Any) -> None:
        self._flush()
        self._write(batch)

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._numbers:
            count = len(self._numbers)
            arrays = [pyarrow.array(self._numbers, pyarrow.int64())]
            for column in self._columns.values():
                arrays.append(column.array() if isinstance(column, Turns) else column.array(count))
            self._begin()
            self._write(pyarrow.record_batch(arrays, schema=self._schema))

    def _write(self, batch: Any) -> None:
        self.hash.update(batch)
        self.count += batch.num_rows
        self._count(batch)
        self._writer.write_batch(batch)

    def _count(self, batch: Any) -> None:
        split, category = batch.column("split"), batch.column("category")
        if split.null_count < len(split):
            self.splits.update({pair["values"].as_py(): pair["counts"].as_py() for pair in split.value_counts()})
            self.splits.pop(None, None)
        if category.null_count < len(category):
            self.categories.update(category.drop_null().unique().to_pylist())


def _options(format: str) -> dict[str, Any]:
    """Speakers repeat and texts do not: looking for repeated texts costs as much as compressing them."""
    repeated = ["category", "split", "origin"]
    if format == MESSAGES:
        repeated.append("messages.list.element.role")
    return {
        "compression": {"raw": COMPRESSION},
        "compression_level": {"raw": COMPRESSION_LEVEL},
        "use_dictionary": repeated,
        "write_statistics": ["row"],
    }


class _ProblemsFile:
    """problems.parquet: one line a fault."""

    def __init__(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        names = ("code", "field", "values", "raw", "state")
        text = ((name, pyarrow.string()) for name in names)
        self._schema = pyarrow.schema([("row", pyarrow.int64()), *text, ("offset", pyarrow.int64())])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression=COMPRESSION)
        self._lines: list[tuple] = []
        self._tables: list[pl.DataFrame] = []
        self._size = 0

    def add(self, problem: Problem) -> None:
        if self._tables:
            self._flush()
        values = _encode(problem.values).decode()
        line = (problem.row, problem.code, problem.field, values, problem.raw, problem.state, problem.offset)
        self._lines.append(line)
        self._size += len(problem.raw) + len(values)
        if len(self._lines) >= GROUP_ROWS or self._size >= GROUP_CHARACTERS:
            self._flush()

    def write(self, table: "pl.DataFrame") -> None:
        """Lines that are laid out already; a column that an old version did not have is null."""
        import polars as pl

        if self._lines:
            self._flush()
        missing = [pl.lit(None).alias(name) for name in self._schema.names if name not in table.columns]
        self._tables.append(table.with_columns(missing).select(self._schema.names))
        self._size += table["raw"].str.len_bytes().sum()
        if sum(map(len, self._tables)) >= GROUP_ROWS or self._size >= GROUP_CHARACTERS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._tables:
            import polars as pl

            tables = (table.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema) for table in self._tables)
            self._writer.write_table(pyarrow.concat_tables(tables))
        if self._lines:
            columns = zip(*self._lines, strict=True)
            arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
            self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        self._lines, self._tables, self._size = [], [], 0
