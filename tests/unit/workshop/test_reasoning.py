"""What assistants think before they answer is kept, masked, compared and handed on; what turns hold besides is told.

`layout_2/` was written before turns had a place for reasoning; its versions keep their content hash.
"""

import json
from pathlib import Path

import polars as pl
import pytest

from studio.workshop import cleaning, recipe
from studio.workshop.clean import personal_data
from studio.workshop.clean.outcome import no_findings
from studio.workshop.converting.detect import preview
from studio.workshop.converting.turns import unread_keys
from studio.workshop.problems import unread_keys_text
from studio.workshop.similarity.variants import variants
from studio.workshop.table import load
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.diff import compare
from studio.workshop.versions.export import export
from studio.workshop.versions.reader import read_manifest, read_rows
from studio.workshop.versions.rewrite import write_version

FOLDER = Path(__file__).with_name("layout_2")
DATA = Path(__file__).parents[3] / "data"
ASKED = {"role": "user", "content": "What is 2 + 2?"}


def _answer(**beside):
    return {"role": "assistant", "content": "4", **beside}


def _file(folder: Path, *answers: dict, **columns) -> Path:
    path = folder / "rows.jsonl"
    rows = ({"messages": [ASKED, answer], **columns} for answer in answers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_is_a_field_of_the_turn_whatever_its_name(key: str, tmp_path: Path):
    import_file(_file(tmp_path, _answer(**{key: "Two and two."}), _answer()), tmp_path / "v1")
    first, second = read_rows(tmp_path / "v1", start=0, count=2)
    assert first.messages[1] == _answer(reasoning_content="Two and two.")
    assert json.loads(first.raw)["messages"][1][key] == "Two and two."
    assert second.messages[1] == _answer()


def test_reasoning_that_is_no_text_is_told_and_keeps_no_row_out(tmp_path: Path):
    made = import_file(_file(tmp_path, _answer(thinking=True), _answer(thinking=""), _answer()), tmp_path / "v1")
    assert (made.rows, made.source["unread_keys"]) == (3, {"thinking": 1})


def test_every_other_key_of_a_turn_is_told_once_with_its_rows(tmp_path: Path):
    rows = [_answer(id=1, score=0.5), _answer(id=2), _answer(id=None), _answer(name="Bo", weight=1)]
    path = _file(tmp_path, *rows)
    made = import_file(path, tmp_path / "v1")
    assert made.source["unread_keys"] == preview(path).unread_keys == {"id": 2, "score": 1}
    assert unread_keys_text({"id": 2, "score": 1}) == (
        "Turns also hold “id” (2 rows), “score” (1 row). Training does not read that; it stays in the source text of "
        "each row."
    )
    assert '"score":0.5' in read_rows(tmp_path / "v1", start=0, count=1)[0].raw.replace(" ", "")
    later = revise(tmp_path / "v1", tmp_path / "v2", edits={}, exclude=[4])
    assert later.source["unread_keys"] == {"id": 2, "score": 1}


def test_tools_and_plain_columns_are_no_turns():
    row = {"messages": [ASKED], "tools": [{"type": "function"}], "meta": [{"id": 7}]}
    assert unread_keys(row, {"messages": "messages", "tools": "tools"}) == set()
    assert unread_keys({"q": {"messages": [{"id": 7}]}}, {"q": "prompt"}) == {"id"}
    assert unread_keys({"chosen": {"role": "assistant", "content": "x", "model": "m"}}, {"chosen": "chosen"}) == {
        "model"
    }


def test_personal_data_in_reasoning_is_masked_like_the_answer(tmp_path: Path):
    answer = {"role": "assistant", "content": "Write to li@qq.com.", "thinking": "Her address is li@qq.com."}
    import_file(_file(tmp_path, answer), tmp_path / "v1")
    done = personal_data.run(load(tmp_path / "v1"), personal_data.Options())
    turn = done.rows["messages"][0][1]
    assert (turn["content"], turn["reasoning_content"]) == (
        "Write to name@example.com.",
        "Her address is name@example.com.",
    )
    assert done.findings["field"].to_list() == ["messages[1].content", "messages[1].reasoning_content"]


def test_the_same_answer_reached_otherwise_is_no_duplicate(tmp_path: Path):
    answers = [_answer(thinking="Count."), _answer(thinking="Add."), _answer(thinking="Add.")]
    import_file(_file(tmp_path, *answers), tmp_path / "v1")
    first, second, third = variants(load(tmp_path / "v1"))
    assert first != second == third


def test_a_changed_thought_is_a_change_and_is_exported(tmp_path: Path):
    import_file(_file(tmp_path, _answer(thinking="Count."), _answer()), tmp_path / "v1")
    edited = json.dumps({"messages": [ASKED, _answer(thinking="Add.")]})
    made = revise(tmp_path / "v1", tmp_path / "v2", edits={1: edited}, exclude=[])
    assert made.content_hash != read_manifest(tmp_path / "v1").content_hash
    assert compare(tmp_path / "v1", tmp_path / "v2", tmp_path / "diff").changed == 1
    export(tmp_path / "v2", tmp_path / "out.jsonl")
    again = import_file(tmp_path / "out.jsonl", tmp_path / "again")
    assert again.content_hash == made.content_hash


# -- versions made before ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "source"), [("tools", "chat_tools"), ("preference", "preference")])
def test_a_version_made_before_has_the_hash_that_it_would_get_today(name: str, source: str, tmp_path: Path):
    before = read_manifest(FOLDER / name)
    turns = pl.read_parquet_schema(FOLDER / name / "rows.parquet")["messages" if name == "tools" else "chosen"]
    assert "reasoning_content" not in {field.name for field in turns.inner.fields}
    assert import_file(DATA / f"{source}.en.jsonl", tmp_path / "now").content_hash == before.content_hash
    rewritten = write_version(
        tmp_path / "rewritten", parent=FOLDER / name, rows=load(FOLDER / name), excluded=no_findings(), steps=[]
    )
    assert rewritten.content_hash == before.content_hash
    same = compare(FOLDER / name, tmp_path / "rewritten", tmp_path / "diff")
    assert (same.added, same.removed, same.changed, same.same) == (0, 0, 0, before.rows)


def test_a_version_made_before_is_cleaned(tmp_path: Path):
    made, _ = cleaning.apply(FOLDER / "tools", recipe.recommended(), tmp_path / "clean")
    assert made.rows + made.problems + made.excluded == made.source_rows
