"""Rows leave the studio in three formats, with a pointer that DVC reads and no live formulas."""

import csv
import hashlib
import json

import pyarrow.parquet
import pytest
import yaml

from studio.errors import RefusedInput
from studio.workshop.versions.export import export
from tests.unit.workshop.making import chat, pair, version

TRICKS = ["=1+1", "+49 30 1", "-5", "@SUM(A1)", "\tx", "\r=x", "safe", "a=b"]


@pytest.fixture
def pairs(tmp_path):
    rows = [pair(f"Q {place}", text, category="c") for place, text in enumerate(TRICKS)]
    return version(tmp_path / "v", rows, splits={1: "test"})


def test_jsonl_holds_what_trl_reads(pairs, tmp_path):
    made = export(pairs, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert (made.rows, made.format, made.defused) == (8, "jsonl", 0)
    assert lines[0] == {"prompt": "Q 0", "completion": "=1+1", "category": "c", "split": "test"}
    assert [line["completion"] for line in lines] == TRICKS


def test_parquet_keeps_its_types(tmp_path):
    talks = version(tmp_path / "v", [chat("你好", "Hello"), chat("A", "B", "C", "D")])
    export(talks, tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["messages", "tools"]
    assert table["messages"][0].as_py()[0]["content"] == "你好"


def test_no_cell_of_a_csv_file_is_a_formula(pairs, tmp_path):
    made = export(pairs, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["prompt", "completion", "category", "split"]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
    assert made.defused == 6
    assert [row[1].removeprefix("'") for row in rows[1:]] == TRICKS


def test_conversations_in_csv_are_json_text(tmp_path):
    talks = version(tmp_path / "v", [chat("Hi", "Hello")])
    export(talks, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert json.loads(list(csv.reader(file))[1][0])[1]["content"] == "Hello"


def test_pointer_and_manifest_lie_beside_it(pairs, tmp_path):
    made = export(pairs, tmp_path / "out.jsonl")
    data = (tmp_path / "out.jsonl").read_bytes()
    pointer = yaml.safe_load((tmp_path / "out.jsonl.dvc").read_text())
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert pointer == {"outs": [{"md5": md5, "size": len(data), "hash": "md5", "path": "out.jsonl"}]}
    text = (tmp_path / "out.jsonl.manifest.json").read_text("utf-8")
    document = json.loads(text)
    assert text == json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert (document["rows"], document["md5"], made.manifest_file) == (
        8,
        md5,
        str(tmp_path / "out.jsonl.manifest.json"),
    )


def test_an_unknown_format_and_a_folder_that_is_not_there_are_refused(pairs, tmp_path):
    with pytest.raises(RefusedInput, match="parquet"):
        export(pairs, tmp_path / "out.jsonl", format="parket")
    with pytest.raises(RefusedInput) as refused:
        export(pairs, tmp_path / "no" / "out.jsonl")
    assert refused.value.code == "export.cannot_write"
