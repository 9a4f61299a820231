"""Rows that a model answers by itself, to learn from a reward: the question, its tokens, and what graders must know.

    prompts = prepare_data(attempt, renderer)
    prompts.train           row, prompt (turns), prompt_ids
    prompts.rows[17]        studio.graders.score.Row(question=..., reference=..., number=17)

The rows lie in `<attempt>/cache/{train,validation}.arrow`; questions longer than `max_length` are left out and
told.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from studio.errors import JobFailed
from studio.graders.score import Row
from studio.protocol import DatasetRef
from trainers.attempt import Attempt
from trainers.rows.general_rows import asks_questions, joined
from trainers.rows.sides import both_sides

if TYPE_CHECKING:
    from trainers.rows.data import Findings, Renderer

_BATCH = 1000


@dataclass(frozen=True)
class Prompts:
    train: Any
    validation: Any | None
    rows: dict[int, Row]
    """By number, of both sides."""


def prepare_data(attempt: Attempt, renderer: "Renderer") -> Prompts:
    """
    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import Findings

    findings, rows = Findings(), dict[int, Row]()

    def written(split: str) -> Any | None:
        lines = _lines(attempt, split, renderer, findings, rows)
        return _written(lines, attempt.folder / "cache" / f"{split}.arrow")

    train, validation = both_sides(attempt, written, findings)
    if asks_questions(attempt.spec.values):
        general = general_questions(attempt, renderer)
        train = joined(train, general.train, attempt.spec.values["general_share"], seed=attempt.spec.seed)
        rows |= general.rows
    return Prompts(train, validation, rows)


def general_questions(attempt: Attempt, renderer: "Renderer") -> Prompts:
    """The questions of the general rows; their numbers are below 0, so that they are none of the data set's own.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import TRAIN, Findings, tell_left_out

    dataset, rows, findings = attempt.spec.old_dataset, dict[int, Row](), Findings()
    lines = _lines(attempt, TRAIN, renderer, findings, rows, dataset=dataset, sign=-1)
    made = _written(lines, attempt.folder / "cache" / "general.arrow")
    tell_left_out(attempt, "general_questions_left_out", findings, dataset.name)
    if made is None:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=attempt.spec.values["max_length"])
    return Prompts(made, None, rows)


def _lines(  # noqa: PLR0913 - a row is read, rendered, told of and kept
    attempt: Attempt,
    split: str,
    renderer: "Renderer",
    findings: "Findings",
    rows: dict[int, Row],
    *,
    dataset: DatasetRef | None = None,
    sign: int = 1,
) -> Iterator[dict[str, Any]]:
    dataset = dataset or attempt.spec.dataset
    for place, line in _source(dataset, split):
        number = sign * place
        question = _question(number, line, dataset.format)
        if question is None:
            findings.add("rows_without_question", number)
            continue
        try:
            ids = renderer.prompt(question.turns)
        except jinja2.TemplateError:
            findings.add("rows_refused_by_template", number)
            continue
        if len(ids) > attempt.spec.values["max_length"]:
            findings.add("prompts_too_long", number)
            continue
        rows[number] = question.row
        yield {"row": number, "prompt": question.turns, "prompt_ids": ids}


def _question(number: int, line: dict[str, Any], format: str) -> Any:
    from studio.rewards.questions import question_of
    from studio.workshop.versions.layout import TrainingRow, row_of

    known = row_of(line, format)
    fields = {name: known[name] for name in TrainingRow.__struct_fields__ if name in known}
    return question_of(number, TrainingRow(**fields), format)


def _source(dataset: DatasetRef, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.parquet

    from studio.workshop.versions.layout import TRAINED_COLUMNS
    from trainers.rows.data import ROWS, TRAIN

    with pyarrow.parquet.ParquetFile(Path(dataset.path) / ROWS) as file:
        there = set(file.schema_arrow.names)
        columns = [name for name in ("row", *TRAINED_COLUMNS[dataset.format], "split", "extra") if name in there]
        for batch in file.iter_batches(_BATCH, columns=columns):
            for line in batch.to_pylist():
                if (line.get("split") or TRAIN) == split:
                    yield line["row"], line


def _written(lines: Iterable[dict[str, Any]], path: Path) -> Any | None:
    """The rows in an Arrow stream file that is mapped into memory; None if there are none."""
    import pyarrow as pa
    from datasets import Dataset

    turn = pa.struct({"role": pa.string(), "content": pa.string()})
    schema = pa.schema({"row": pa.int64(), "prompt": pa.list_(turn), "prompt_ids": pa.list_(pa.int32())})
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, count = iter(lines), 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        while batch := list(islice(lines, _BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return Dataset.from_file(str(path)) if count else None
