"""Versions that the first layout wrote are still read, shown, trained on, mended and cleaned.

`layout_1/` was written by the code of the first layout; its tables have no `extra`, `category`, `split`, `origin`.
"""

import json
from pathlib import Path

import polars as pl
import pytest

from studio.protocol import DatasetRef
from studio.workshop import cleaning, recipe
from studio.workshop.table import load, texts
from studio.workshop.versions.build import revise
from studio.workshop.versions.diff import compare
from studio.workshop.versions.export import export
from studio.workshop.versions.finding import Wanted, find_rows
from studio.workshop.versions.reader import iterate_problems, read_manifest, read_problems, read_rows
from trainers.rows.data import conversations

FOLDER = Path(__file__).with_name("layout_1")
CHAT, PAIRS = FOLDER / "chat", FOLDER / "pairs"


def test_the_tables_are_those_of_the_first_layout():
    assert pl.read_parquet_schema(CHAT / "rows.parquet").keys() == {"row", "messages", "raw"}
    assert pl.read_parquet_schema(PAIRS / "rows.parquet").keys() == {"row", "prompt", "completion", "raw"}
    assert {read_manifest(each).layout for each in (CHAT, PAIRS)} == {1}


def test_rows_and_problems_are_read():
    first, second = read_rows(CHAT, start=0, count=5)
    assert json.loads(first.raw)["id"] == 1 and first.split is first.origin is first.extra is None
    assert [turn["role"] for turn in second.messages] == ["system", "user", "assistant"]
    assert [each.row for each in find_rows(CHAT, Wanted(search="你好"), start=0, count=5).rows] == [2]
    assert [(each.row, each.code) for each in read_problems(CHAT, start=0, count=9)] == [
        (3, "no_assistant"),
        (4, "empty_answer_turn"),
    ]
    assert all(each.message("en") for each in iterate_problems(PAIRS))
    assert [(row.prompt, row.completion) for row in read_rows(PAIRS, start=1, count=1)] == [
        ("Capital of France?", "Paris")
    ]


@pytest.mark.parametrize(("version", "said"), [(CHAT, 5), (PAIRS, 4)])
def test_they_are_tables_and_training_rows(version: Path, said: int):
    known = read_manifest(version)
    assert texts(load(version)).height == said
    ref = DatasetRef(name="a", version=1, path=str(version), content_hash="", format=known.format, rows=known.rows)
    assert [number for number, _ in conversations(ref)] == [1, 2]


@pytest.mark.parametrize("version", [CHAT, PAIRS])
def test_a_new_version_is_made_of_them(version: Path, tmp_path: Path):
    shown = read_rows(version, start=0, count=1)[0]
    mended = revise(version, tmp_path / "mended", edits={3: shown.raw}, exclude=[2])
    assert (mended.layout, mended.rows, mended.excluded, mended.parent) == (
        2,
        2,
        1,
        read_manifest(version).content_hash,
    )
    made, _ = cleaning.apply(version, recipe.recommended(), tmp_path / "clean")
    assert made.layout == 2 and made.rows + made.problems + made.excluded == made.source_rows
    again, _ = cleaning.apply(tmp_path / "mended", recipe.recommended(), tmp_path / "again")
    assert again.rows + again.problems + again.excluded == again.source_rows
    compare(version, tmp_path / "clean", tmp_path / "diff")
    export(version, tmp_path / "out.jsonl")
    assert len((tmp_path / "out.jsonl").read_text("utf-8").splitlines()) == 2
