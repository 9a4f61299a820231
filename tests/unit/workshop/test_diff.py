"""Two versions are compared by row number and content."""

import pytest

from studio.workshop import reports
from studio.workshop.versions import diff
from studio.workshop.versions.diff import compare
from tests.unit.workshop.making import chat, pair, version


def test_added_removed_and_changed_rows_are_told(tmp_path):
    a = version(tmp_path / "a", [pair("1", "one"), pair("2", "two"), pair("3", "three")], problems={4: "x"})
    b = version(tmp_path / "b", [pair("1", "one"), pair("2", "TWO"), pair("4", "four")], problems={3: "x"})
    report = compare(a, b, tmp_path / "diff")
    assert (report.added, report.removed, report.changed, report.same) == (1, 1, 1, 1)
    assert reports.read_diff(tmp_path / "diff") == report
    found = reports.read_diff_rows(tmp_path / "diff", start=0, count=9)
    assert {(each.row, each.kind) for each in found} == {(2, "changed"), (3, "removed"), (4, "added")}
    (changed,) = reports.read_diff_rows(tmp_path / "diff", start=0, count=9, kind="changed")
    assert changed.fields == ["completion"]
    assert (changed.before["completion"], changed.after["completion"]) == ("two", "TWO")
    by_kind = {each.kind: each for each in found}
    assert by_kind["added"].before is None and by_kind["removed"].after is None


def test_a_version_is_like_itself(tmp_path):
    a = version(tmp_path / "a", [chat("Hi", "Hello"), chat("A", "B", "C", "D")])
    report = compare(a, a, tmp_path / "diff")
    assert (report.same, report.added, report.removed, report.changed) == (2, 0, 0, 0)
    assert reports.read_diff_rows(tmp_path / "diff", start=0, count=9) == []


def test_a_changed_turn_split_and_category_are_seen(tmp_path):
    rows = [chat("Hi", "Hello"), chat("A", "B"), chat("C", "D", category="x")]
    a = version(tmp_path / "a", rows)
    rows = [chat("Hi", "Hello!"), chat("A", "B"), chat("C", "D", category="y")]
    b = version(tmp_path / "b", rows, splits={2: "test"})
    compare(a, b, tmp_path / "diff")
    fields = {each.row: each.fields for each in reports.read_diff_rows(tmp_path / "diff", start=0, count=9)}
    assert fields == {1: ["messages"], 2: ["split"], 3: ["category"]}


def test_versions_of_two_formats_differ_in_every_row(tmp_path):
    a, b = version(tmp_path / "a", [pair("1", "one")]), version(tmp_path / "b", [chat("1", "one")])
    assert compare(a, b, tmp_path / "diff").changed == 1


@pytest.mark.parametrize("stretch", [1, 2, 7, 1000])
def test_stretches_do_not_show(tmp_path, monkeypatch, stretch):
    monkeypatch.setattr(diff, "STRETCH", stretch)
    a = version(tmp_path / "a", [pair(str(n), "x") for n in range(20)])
    b = version(tmp_path / "b", [pair(str(n), "x" if n % 3 else "y") for n in range(25)])
    report = compare(a, b, tmp_path / "diff")
    assert (report.added, report.changed, report.same) == (5, 7, 13)
    changed = reports.read_diff_rows(tmp_path / "diff", start=2, count=3, kind="changed")
    assert [each.row for each in changed] == [7, 10, 13]
