"""A fault in an archive of several files names the file and the line in it; the row's own number stays."""

import json
import zipfile
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.workshop import cleaning, recipe
from studio.workshop.converting.detect import preview
from studio.workshop.members import in_member, within
from studio.workshop.reading.opening import open_source
from studio.workshop.reports import CHANGES, iterate_findings
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


def test_a_row_that_a_step_takes_out_is_named_by_its_file_and_line(tmp_path: Path):
    known = import_file(several(tmp_path), tmp_path / "v").source
    cleaning.apply(tmp_path / "v", recipe.parse({"steps": ["duplicates"]}), tmp_path / "v2")
    taken = [each for each in read_problems(tmp_path / "v2", start=0, count=20) if each.state == "excluded"]
    assert [each.row for each in taken] == [2, 3, 4, 6, 8, 10]
    assert taken[3].message("en").startswith("b.jsonl, line 2: Row 6 ")
    assert taken[3].message("zh").startswith("b.jsonl 第 2 行：")
    found = next(iterate_findings(tmp_path / "v2" / CHANGES, action="remove"))
    assert in_member(found.message(), within(known, found.row)).startswith("a.jsonl, line 2: Row 2 ")
    assert within(known, 10) == {"member": "c.jsonl", "member_row": 2, "member_unit": "line"}
    assert within(known, 11) == within(known, 0) == {}


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


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path):
    table = "prompt,completion\nHi,Hello\n"
    path = packed(tmp_path / "a.zip", {"a.csv": table, "b.csv": "prompt,prompt\nHi,Hello\n", "c.csv": table})
    (fault,) = preview(path).faults
    assert fault.row == 2 and "a.zip/b.csv" in fault.message("en") and "a.zip/b.csv" in fault.message("zh")
    made = import_file(path, tmp_path / "v")
    assert [row.row for row in iterate_rows(tmp_path / "v")] == [1, 3] and made.problems == 1


@pytest.mark.parametrize("odd", ["", " \n\t\n", "\x00\x01\x02\x03\x80", "no JSON at all"])
@pytest.mark.parametrize("place", ["a", "b", "z"])
def test_a_blank_or_foreign_file_keeps_no_other_out(tmp_path: Path, odd: str, place: str):
    path = packed(tmp_path / "a.zip", {f"{place}.jsonl": odd, "m.jsonl": GOOD * 2, "n.jsonl": NUMBER + GOOD})
    made = import_file(path, tmp_path / "v")
    assert (made.rows, made.problems) == (3, 2) and made.source["kind"] == "jsonl"
    told = [each.message("en") for each in read_problems(tmp_path / "v", start=0, count=9)]
    assert sum(f"a.zip/{place}.jsonl" in each for each in told) == 1
    assert sum(each.startswith("n.jsonl, line 1: ") for each in told) == 1
    assert [row.row for row in open_source(path).rows()] == list(range(1, 6))


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path):
    path = packed(tmp_path / "a.zip", {"a.jsonl": GOOD * 3, "b.jsonl": GOOD})
    data = bytearray(path.read_bytes())
    data[data.index(GOOD.encode()) + 3] ^= 0xFF  # stored as it is: its checksum no longer holds
    path.write_bytes(data)
    made = import_file(path, tmp_path / "v")
    (unread,) = [each for each in read_problems(tmp_path / "v", start=0, count=9) if "why" in each.values]
    assert "a.zip/a.jsonl is damaged" in unread.message("en") and made.rows >= 1


def test_where_no_file_can_be_read_the_archive_is_refused(tmp_path: Path):
    with pytest.raises(RefusedInput) as refused:
        import_file(packed(tmp_path / "a.zip", {"a.jsonl": "", "b.jsonl": " "}), tmp_path / "v")
    assert refused.value.code == "data.empty_file"


def test_one_file_alone_needs_no_name(tmp_path: Path):
    (fault,) = preview(packed(tmp_path / "a.zip", {"a.jsonl": GOOD * 2 + NUMBER})).faults
    assert fault.message().startswith("Row 3: ")
