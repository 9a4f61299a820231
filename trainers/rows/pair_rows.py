"""Rows of preference as tokens: a question with the better and the worse answer, or one answer and whether it is good.

    {"prompt": [...], "chosen": [...], "rejected": [...]}  ->  row, prompt_ids, chosen_ids, rejected_ids
                                                           or row, chosen_ids, rejected_ids, question included
    {"prompt": [...], "completion": [...], "label": True}  ->  row, prompt_ids, completion_ids, label

Tokenising is ours, as for answers that are learned (`trainers.rows.data`): the chat template renders question and
answer together, and an answer begins where that differs from the question alone. Answers are cut to `max_length`; what
cannot be used is reported by number. The rows lie in `<attempt>/cache/{train,validation}.arrow`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.workshop.versions.layout import PREFERENCE, TRAINED_COLUMNS, UNPAIRED, row_of
from trainers.attempt import Attempt
from trainers.rows.sides import both_sides

if TYPE_CHECKING:
    from trainers.rows.data import Findings, Renderer

PAIRS = ("prompt_ids", "chosen_ids", "rejected_ids")
WHOLE = ("chosen_ids", "rejected_ids")
JUDGED = ("prompt_ids", "completion_ids", "label")
_BATCH = 1000

Tokens = Mapping[str, Any]
"""Column -> tokens, or whether an answer is good."""


@dataclass(frozen=True)
class Shape:
    """How rows of one format become tokens."""

    format: str
    columns: tuple[str, ...]
    tokens: "Callable[[Renderer, Mapping[str, Any], int], tuple[Tokens, bool]]"
    """Renderer, row and `max_length` -> tokens, and whether an answer was cut. Raises RowLeftOut."""


def prepare_data(attempt: Attempt, tokenizer: Any, shape: Shape) -> tuple[Any, Any]:
    """Training and validation rows as data sets of the shape's columns and `row`; None where nothing validates.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import Findings, Renderer

    findings, renderer = Findings(), Renderer(tokenizer)

    def written(split: str) -> Any | None:
        found = _rendered(attempt, split, shape, renderer, findings)
        return _written(found, shape, attempt.folder / "cache" / f"{split}.arrow")

    return both_sides(attempt, written, findings)


def pairs() -> Shape:
    return Shape(PREFERENCE, PAIRS, _pair)


def whole_pairs() -> Shape:
    """Each answer with its question before it, as a reward model reads it."""
    return Shape(PREFERENCE, WHOLE, _whole_pair)


def judged() -> Shape:
    return Shape(UNPAIRED, JUDGED, _judged)


def _pair(renderer: "Renderer", row: Mapping[str, Any], max_length: int) -> tuple[Tokens, bool]:
    from trainers.rows.data import RowLeftOut

    prompt, chosen = renderer.answer(row["prompt"], row["chosen"])
    other, rejected = renderer.answer(row["prompt"], row["rejected"])
    # Two answers may share a beginning with what asks for them in different ways; the shorter question holds for both.
    size = min(len(prompt), len(other))
    chosen, rejected = prompt[size:] + chosen, other[size:] + rejected
    if chosen == rejected:
        raise RowLeftOut("pairs_alike")
    room = _room(size, max_length)
    if chosen[:room] == rejected[:room]:
        raise RowLeftOut("pairs_alike_when_cut")
    cut = max(len(chosen), len(rejected)) > room
    return {"prompt_ids": prompt[:size], "chosen_ids": chosen[:room], "rejected_ids": rejected[:room]}, cut


def _whole_pair(renderer: "Renderer", row: Mapping[str, Any], max_length: int) -> tuple[Tokens, bool]:
    found, cut = _pair(renderer, row, max_length)
    return {name: found["prompt_ids"] + found[name] for name in WHOLE}, cut


def _judged(renderer: "Renderer", row: Mapping[str, Any], max_length: int) -> tuple[Tokens, bool]:
    prompt, answer = renderer.answer(row["prompt"], row["completion"])
    room = _room(len(prompt), max_length)
    return {"prompt_ids": prompt, "completion_ids": answer[:room], "label": row["label"]}, len(answer) > room


def _room(prompt: int, max_length: int) -> int:
    """Tokens that are left for an answer.

    Raises:
        RowLeftOut: rows_cut_off.
    """
    from trainers.rows.data import RowLeftOut

    if prompt >= max_length:
        raise RowLeftOut("rows_cut_off")
    return max_length - prompt


def _rendered(
    attempt: Attempt, split: str, shape: Shape, renderer: "Renderer", findings: "Findings"
) -> Iterator[dict[str, Any]]:
    from trainers.rows.data import RowLeftOut

    for number, row in _rows(attempt, split, shape.format):
        try:
            tokens, is_cut = shape.tokens(renderer, row, attempt.spec.values["max_length"])
        except RowLeftOut as reason:
            findings.add(reason.code, number)
            continue
        if is_cut:
            findings.add("rows_shortened", number)
        yield {"row": number, **tokens}


def _rows(attempt: Attempt, split: str, format: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.parquet

    from trainers.rows.data import ROWS, TRAIN

    with pyarrow.parquet.ParquetFile(Path(attempt.spec.dataset.path) / ROWS) as file:
        there = set(file.schema_arrow.names)
        columns = [name for name in ("row", *TRAINED_COLUMNS[format], "split") if name in there]
        for batch in file.iter_batches(_BATCH, columns=columns):
            for line in batch.to_pylist():
                if (line.get("split") or TRAIN) == split:
                    yield line["row"], row_of(line, format)


def _written(rows: Iterable[dict[str, Any]], shape: Shape, path: Path) -> Any | None:
    """The rows in an Arrow stream file that is mapped into memory; None if there are none."""
    import pyarrow as pa
    from datasets import Dataset

    tokens = pa.list_(pa.int32())
    kinds = {name: pa.bool_() if name == "label" else tokens for name in shape.columns}
    schema = pa.schema({"row": pa.int64(), **kinds})
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        rows = iter(rows)
        while batch := list(islice(rows, _BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return Dataset.from_file(str(path)) if count else None
