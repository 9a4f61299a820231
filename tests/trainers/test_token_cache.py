"""Rows are tokenised once: what is kept is used again only where nothing that decides it has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.protocol import DatasetRef, read_spec
from tests.trainers.jobs import SFT, model_ref, write_dataset, write_spec, write_tiny_model
from trainers.attempt import Attempt
from trainers.models.loading import load_tokenizer
from trainers.rows import data, token_rows


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    pairs = [{"prompt": f"{i}?", "completion": "word " * (10 * i + 1)} for i in range(12)]
    return write_dataset(tmp_path / "v1", pairs)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the rows that were really rendered."""
    numbers: list[int] = []
    render = data.Renderer.render

    def counted(self: Any, row: int, sample: Any) -> Any:
        numbers.append(row)
        return render(self, row, sample)

    monkeypatch.setattr(data.Renderer, "render", counted)
    return numbers


@pytest.fixture
def prepared(tmp_path: Path, starter: Path, rows: DatasetRef) -> Callable[..., tuple[list[Any], list[Any]]]:
    """The rows of a new run as (number, tokens), and its alerts."""
    model = write_tiny_model(tmp_path / "model", starter)
    count = iter(range(100))

    def prepare(**changes: Any) -> tuple[list[Any], list[Any]]:
        fields = {"dataset": rows, "model": model_ref(model), "cache_path": str(tmp_path / "cache")}
        job = write_spec(tmp_path / f"job{next(count)}", values=SFT | {"max_length": 64} | changes, **fields)
        attempt = Attempt(job, read_spec(job))
        train, _ = token_rows.prepare_data(attempt, load_tokenizer(model))
        alerts = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
        told = [each["data"] for each in alerts if each["type"] == "alert"]
        return list(zip(train["row"], train["input_ids"], train["labels"], strict=True)), told

    return prepare


def test_a_second_run_gets_the_same_rows_and_alerts_without_rendering(prepared: Any, rendered: list[int]) -> None:
    first = prepared()
    assert len(rendered) == 12 and any(alert["code"] == "rows_shortened" for alert in first[1])
    assert prepared(learning_rate=1e-4) == first
    assert len(rendered) == 12


def test_what_decides_the_tokens_is_looked_at(
    prepared: Any, rendered: list[int], tmp_path: Path, rows: DatasetRef
) -> None:
    first, _ = prepared()
    assert prepared(max_length=48)[0] != first
    assert len(rendered) == 24
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(template.read_text("utf-8").replace("<|im_start|>", "<|im_end|>", 1), "utf-8")
    assert prepared()[0] != first
    assert len(rendered) == 36
    import polars as pl

    path = Path(rows.path) / "rows.parquet"
    pl.read_parquet(path).with_columns(row=pl.col("row") + 100).write_parquet(path)
    assert {number for number, *_ in prepared()[0]} == set(range(101, 113))


def test_damaged_rows_are_made_anew(prepared: Any, rendered: list[int], tmp_path: Path) -> None:
    first = prepared()
    (kept,) = (tmp_path / "cache" / "tokens").glob("*/rows.arrow")
    content = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(content[:-50] + bytes(50))
    assert prepared() == first
    assert len(rendered) == 24


def test_a_cache_that_cannot_be_written_stops_nothing(prepared: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(prepared()[0]) == 12
