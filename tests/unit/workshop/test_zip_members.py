"""A fault in an archive of several files names the file and the line in it; the row's own number stays."""

import json
import zipfile
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.workshop.converting.detect import preview
from studio.workshop.reading.opening import open_source
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.reader import iterate_rows, read_problems

GOOD = json.dumps({"prompt": "Where is it?", "completion": "Here."}) + "\n"
NUMBER = '{"prompt": 3, "completion": "x"}\n'


def packed(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def several(folder: Path) -> Path:
    members = {"a.jsonl": GOOD * 4, "b.jsonl": "\n" + GOOD + NUMBER + GOOD, "c.jsonl": '{"prompt": "Wh\n' + GOOD}
    return packed(folder / "chats.zip", members)


def test_a_fault_names_file_and_line_and_keeps_its_row_number(tmp_path: Path):
    import_file(several(tmp_path), tmp_path / "v")
    numbered, broken = read_problems(tmp_path / "v", start=0, count=9)
    assert (numbered.row, numbered.values["member"], numbered.values["member_row"]) == (7, "b.jsonl", 3)
    assert numbered.message("en").startswith("b.jsonl, line 3: Row 7: ")
    assert numbered.message("zh").startswith("b.jsonl 第 3 行：第 7 条")
    assert broken.message("en").startswith("c.jsonl, line 1: Row 9 ")
    assert [row.row for row in iterate_rows(tmp_path / "v")] == [1, 2, 3, 4, 6, 8, 10]
    assert [each.message() for each in preview(several(tmp_path)).faults] == [numbered.message(), broken.message()]


def test_the_place_outlives_a_revision(tmp_path: Path):
    import_file(several(tmp_path), tmp_path / "v")
    revise(tmp_path / "v", tmp_path / "v2", edits={9: GOOD}, exclude=[1])
    assert [each.message()[:17] for each in read_problems(tmp_path / "v2", start=0, count=9)][1] == "b.jsonl, line 3: "


def test_records_of_a_table_are_rows(tmp_path: Path):
    table = "prompt,completion\nHi,Hello\n"
    path = packed(tmp_path / "a.zip", {"a.csv": table, "b.csv": table + "one,two,three\n"})
    (fault,) = preview(path).faults
    assert fault.row == 3 and fault.message().startswith("b.csv, row 2: ")


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"a.jsonl": "\n\n" + NUMBER, "b.jsonl": NUMBER}, "a.jsonl, line 3"),
        ({"a.json": f"[{NUMBER}]", "b.json": f"[{NUMBER}]"}, "a.json, row 1"),
    ],
)
def test_a_refusal_names_them_too(tmp_path: Path, members: dict[str, str], place: str):
    with pytest.raises(RefusedInput) as refused:
        import_file(packed(tmp_path / "a.zip", members), tmp_path / "v")
    assert place in refused.value.message("en")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    path = packed(tmp_path / "a.zip", {"a.csv": "prompt,completion\nHi,Hello\n", "b.csv": "prompt,prompt\nHi,Hello\n"})
    with pytest.raises(RefusedInput) as refused:
        list(open_source(path).rows())
    assert "b.csv" in refused.value.message("en")


def test_one_file_alone_needs_no_name(tmp_path: Path):
    (fault,) = preview(packed(tmp_path / "a.zip", {"a.jsonl": GOOD * 2 + NUMBER})).faults
    assert fault.message().startswith("Row 3: ")
