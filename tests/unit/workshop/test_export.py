"""Rows leave the studio in three formats, with a pointer that DVC reads and no live formulas."""

import csv
import hashlib
import json
import re
from pathlib import Path

import pyarrow.parquet
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import RefusedInput
from studio.workshop.formulas import defused, restored
from studio.workshop.versions.export import export
from tests.unit.workshop.making import chat, pair, version

TRICKS = ["=1+1", "+49 30 1", "- one\n- two", "@SUM(A1)", "\tx", "\r=x", "\n=x", "＝1+1", "'=1+1", "-1+cmd()"]
PLAIN = ["-5", "-1,250.75", "-3e-4", "a=b", "'tis", "5 - 3", "结果=1"]


@pytest.fixture
def pairs(tmp_path):
    rows = [pair(f"Q {place}", text, category="c") for place, text in enumerate([*TRICKS, *PLAIN])]
    return version(tmp_path / "v", rows, splits={1: "test"})


def test_jsonl_holds_what_trl_reads(pairs, tmp_path):
    made = export(pairs, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert (made.rows, made.format, made.defused) == (17, "jsonl", 0)
    assert lines[0] == {"prompt": "Q 0", "completion": "=1+1", "category": "c", "split": "test"}
    assert [line["completion"] for line in lines] == [*TRICKS, *PLAIN]


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
    cells = [row[1] for row in rows[1:]]
    assert all(cell.startswith("'") for cell in cells[: len(TRICKS)])
    assert cells[len(TRICKS) :] == PLAIN, "negative numbers and other texts stay"
    assert made.defused == len(TRICKS)
    assert list(map(restored, cells)) == [*TRICKS, *PLAIN]


@given(st.text(alphabet="=+-@'\t\r\n１5.a ＝", max_size=6))
def test_a_defused_text_is_no_formula_and_comes_back(text):
    safe = defused(text)
    assert restored(safe) == text
    assert not safe.startswith(("=", "+", "@", "\t", "\r", "\n")) and (safe[:1] != "-" or float(safe.replace(",", ".")))


def test_whatever_writes_csv_defuses_it():
    root = Path(__file__).parents[3]
    sources = [path for room in ("app", "studio", "trainers") for path in (root / room).rglob("*.py")]
    writers = re.compile(r"csv\.writer\(|DictWriter\(|write_csv\(|to_csv\(|sink_csv\(|to_excel\(|write_excel\(")
    found = {path for path in sources if writers.search(path.read_text("utf-8"))}
    assert {path.name for path in found} >= {"export.py", "mark_files.py"}
    assert all("formulas.defused" in path.read_text("utf-8") for path in found)


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
        17,
        md5,
        str(tmp_path / "out.jsonl.manifest.json"),
    )


def test_an_unknown_format_and_a_folder_that_is_not_there_are_refused(pairs, tmp_path):
    with pytest.raises(RefusedInput, match="parquet"):
        export(pairs, tmp_path / "out.jsonl", format="parket")
    with pytest.raises(RefusedInput) as refused:
        export(pairs, tmp_path / "no" / "out.jsonl")
    assert refused.value.code == "export.cannot_write"
