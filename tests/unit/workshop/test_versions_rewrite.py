"""A version from a whole table keeps every source text and accounts for every row."""

import json
from pathlib import Path

import polars as pl
import pytest

from studio.workshop import table
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.reader import Step, iterate_problems, iterate_rows, read_manifest, write_version
from studio.workshop.versions.rewrite import RowsUnaccountedFor

NOTHING = pl.DataFrame(schema={"row": pl.Int64, "code": pl.String, "field": pl.String, "values": pl.String})
STEP = [Step(operation="clean", parameters={}, rows_in=0, rows_out=0)]


def chat(question: str, answer: str, **more: object) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    lines = [chat("q1", "a1"), chat("q2", "a2", id=2), '{"messages": ', chat("q4", "a4"), chat("q5", "a5")]
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (tmp_path / "a.jsonl").write_text(text, "utf-8")
    import_file(tmp_path / "a.jsonl", tmp_path / "v1")
    return tmp_path / "v1"


def test_rows_stay_change_go_and_come_and_every_source_text_is_kept(parent: Path, tmp_path: Path):
    rows = table.load(parent)
    pieces = table.texts(rows).filter((pl.col("row") == 4) & (pl.col("turn") == 1)).with_columns(text=pl.lit("A4"))
    rows = table.with_texts(rows, pieces.select("row", "column", "turn", "text")).filter(pl.col("row") != 5)
    new = rows[:1].with_columns(row=pl.lit(6, pl.Int64), origin=pl.lit("augment:x:1"))
    split = pl.concat([rows, new]).with_columns(split=pl.lit("train"), category=pl.Series(["x", "x", "y", None]))
    out = NOTHING.vstack(pl.DataFrame([[5], ["clean.x.y"], [None], ['{"like": 1}']], schema=NOTHING.schema))
    manifest = write_version(tmp_path / "v2", parent=parent, rows=split, excluded=out, steps=STEP)
    made = list(iterate_rows(tmp_path / "v2"))
    assert [row.row for row in made] == [1, 2, 4, 6]
    assert [row.messages[1]["content"] for row in made] == ["a1", "a2", "A4", "a1"]
    assert [json.loads(row.raw) for row in made[:3]] == [chat("q1", "a1"), chat("q2", "a2", id=2), chat("q4", "a4")]
    assert made[3].origin == "augment:x:1" and made[1].extra == {"id": 2}
    assert (manifest.rows, manifest.problems, manifest.excluded, manifest.source_rows) == (4, 1, 1, 6)
    assert (manifest.splits, manifest.categories, manifest.layout) == ({"train": 4}, 2, 2)
    problems = list(iterate_problems(tmp_path / "v2"))
    assert [(each.row, each.state, each.values.get("like")) for each in problems] == [
        (3, "open", None),
        (5, "excluded", 1),
    ]
    assert json.loads(problems[1].raw) == chat("q5", "a5")


def test_an_unchanged_table_is_the_same_version(parent: Path, tmp_path: Path):
    manifest = write_version(tmp_path / "v2", parent=parent, rows=table.load(parent), excluded=NOTHING, steps=[])
    assert manifest.content_hash == read_manifest(parent).content_hash == manifest.parent
    assert list(iterate_rows(tmp_path / "v2")) == list(iterate_rows(parent))
    assert list(iterate_problems(tmp_path / "v2")) == list(iterate_problems(parent))


def test_another_order_keeps_each_row_s_own_text(parent: Path, tmp_path: Path):
    rows = table.load(parent).reverse()
    manifest = write_version(tmp_path / "v2", parent=parent, rows=rows, excluded=NOTHING, steps=[])
    assert [row.row for row in iterate_rows(tmp_path / "v2")] == [5, 4, 2, 1]
    assert [json.loads(row.raw)["messages"][0]["content"] for row in iterate_rows(tmp_path / "v2")] == [
        "q5",
        "q4",
        "q2",
        "q1",
    ]
    assert manifest.content_hash != read_manifest(parent).content_hash
    back = write_version(tmp_path / "v3", parent=tmp_path / "v2", rows=rows.reverse(), excluded=NOTHING, steps=[])
    assert back.content_hash == read_manifest(parent).content_hash
    assert list(iterate_rows(tmp_path / "v3")) == list(iterate_rows(parent))


def test_a_cleaned_version_can_be_revised(parent: Path, tmp_path: Path):
    rows = table.load(parent).with_columns(split=pl.lit("test"))
    write_version(tmp_path / "v2", parent=parent, rows=rows, excluded=NOTHING, steps=[])
    revise(tmp_path / "v2", tmp_path / "v3", edits={2: json.dumps(chat("Q", "A"))}, exclude=[1])
    made = list(iterate_rows(tmp_path / "v3"))
    assert [(row.row, row.split) for row in made] == [(2, "test"), (4, "test"), (5, "test")]
    assert made[0].messages[0]["content"] == "Q"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows[1:], "lost"),
        (lambda rows: pl.concat([rows, rows[:1]]), "twice"),
        (lambda rows: pl.concat([rows, rows[:1].with_columns(row=pl.lit(9, pl.Int64))]), "new without origin"),
    ],
)
def test_rows_that_are_not_accounted_for_are_refused(parent: Path, tmp_path: Path, change: object, what: str):
    with pytest.raises(RowsUnaccountedFor, match=what):
        write_version(tmp_path / "v2", parent=parent, rows=change(table.load(parent)), excluded=NOTHING, steps=[])
    assert not (tmp_path / "v2" / "manifest.json").exists()
