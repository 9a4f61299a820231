"""Several processes write the very tokens that one writes, whatever became of rows at the seams."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from studio.protocol import DatasetRef
from tests.trainers.jobs import write_dataset
from trainers.models.loading import load_tokenizer
from trainers.rows import data, parts

ROWS = 2300


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    """Some of them too long, some with no answer, some on the other side of the split."""
    made = [
        {
            "prompt": f"{n}?",
            "completion": "word " * (40 if n % 50 == 0 else n % 3 + 1),
            "split": "validation" if n % 7 == 0 else "train",
        }
        for n in range(ROWS)
    ]
    made[1500]["prompt"] = "word " * 200
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", made)


def alone(rows: DatasetRef, tokenizer: Any, path: Path) -> tuple[int, dict[str, list[int]]]:
    found = data.Findings()
    rendered = data.render_rows(data.conversations(rows), data.Renderer(tokenizer), max_length=64, findings=found)
    return data.write_tokens(rendered, path), found.rows


def test_many_write_what_one_writes(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    tokenizer, one, many = load_tokenizer(tiny), tmp_path / "one.arrow", tmp_path / "many.arrow"
    expected = alone(rows, tokenizer, one)
    made_by = partial(data.Renderer, tokenizer)
    count, found = parts.write_parts(rows, made_by, many, split="train", max_length=64, processes=3)
    assert (count, found.rows) == expected and {"rows_shortened", "rows_cut_off"} <= set(found.rows)
    assert many.read_bytes() == one.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.arrow", "one.arrow"], "nothing is left behind"


def test_a_process_that_fails_leaves_the_work_to_the_job(
    tmp_path: Path, tiny: Path, rows: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, row: int, sample: Any) -> Any:
        raise SystemExit(3)

    monkeypatch.setattr(data.Renderer, "render", broken)
    path = tmp_path / "rows.arrow"
    made_by = partial(data.Renderer, load_tokenizer(tiny))
    made = parts.write_parts(rows, made_by, path, split="train", max_length=64, processes=2)
    assert made is None and not list(tmp_path.iterdir())


def test_only_large_data_sets_are_worth_it() -> None:
    assert parts.processes_for(parts.PARALLEL_FROM - 1, 8) == 1
    assert parts.processes_for(parts.PARALLEL_FROM, 8) == 8
    assert parts.processes_for(parts.PARALLEL_FROM, 64) == parts.MOST_PROCESSES
    assert parts.processes_for(parts.PARALLEL_FROM, 1) == 1
