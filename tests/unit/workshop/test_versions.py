"""A version accounts for every source row, reads by pages, and is revised without touching the old one."""

import json
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.paths import SAMPLES
from studio.workshop import cleaning, recipe
from studio.workshop.versions import writer
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.finding import Wanted, categories, find_rows, split_counts
from studio.workshop.versions.problem_groups import problem_groups, problem_rows
from studio.workshop.versions.reader import (
    MANIFEST,
    count_problems,
    iterate_rows,
    read_manifest,
    read_problems,
    read_rows,
    rows_at,
)

GOOD = {"prompt": "q", "completion": "a"}


def made_from(tmp_path: Path, lines: list, name: str = "a.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    import_file(path, tmp_path / f"{name}.v1")
    return tmp_path / f"{name}.v1"


def test_import_keeps_every_row_one_way_or_the_other(tmp_path: Path):
    folder = made_from(tmp_path, [GOOD, '{"prompt": ', "", {"prompt": 1, "completion": ""}, GOOD])
    manifest = read_manifest(folder)
    assert (manifest.source_rows, manifest.rows, manifest.problems, manifest.excluded) == (4, 2, 2, 0)
    assert manifest.blank_lines == 1
    assert manifest.problem_codes == {"json_cut_off": 1, "wrong_type": 1, "empty_answer": 1}
    assert [row.row for row in read_rows(folder, start=0, count=9)] == [1, 5]
    problems = read_problems(folder, start=0, count=9)
    assert [(each.row, each.code, each.field) for each in problems] == [
        (2, "json_cut_off", ""),
        (4, "wrong_type", "prompt"),
        (4, "empty_answer", "completion"),
    ]
    assert problems[0].raw == '{"prompt":'
    assert problems[1].values["value"] == "1"


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_samples_become_versions(tmp_path: Path, path: Path):
    if path.suffix == ".md":
        return
    manifest = import_file(path, tmp_path / "v")
    assert manifest.rows == manifest.source_rows >= 8
    assert manifest == read_manifest(tmp_path / "v")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty.jsonl", "data.empty_file"),
        ("not_json.jsonl", "data.not_json"),
        ("wrong_keys.jsonl", "data.unknown_columns_hint"),
        ("no_usable_rows.jsonl", "data.no_usable_rows"),
    ],
)
def test_broken_files_are_refused_in_plain_words(tmp_path: Path, name: str, code: str):
    with pytest.raises(RefusedInput) as caught:
        import_file(SAMPLES / "broken" / name, tmp_path / "v")
    assert caught.value.code == code and name in caught.value.message("en")
    assert not (tmp_path / "v" / MANIFEST).exists()


def test_broken_samples_with_good_rows_name_the_bad_ones(tmp_path: Path):
    for name, rows in {"broken_line.jsonl": [4, 6], "speakers.jsonl": [2, 3, 4]}.items():
        import_file(SAMPLES / "broken" / name, tmp_path / name)
        assert sorted({each.row for each in read_problems(tmp_path / name, start=0, count=99)}) == rows


def test_the_hash_follows_what_training_gets(tmp_path: Path):
    first = read_manifest(made_from(tmp_path, [GOOD, GOOD], "a.jsonl"))
    spaced = read_manifest(made_from(tmp_path, ["", '{"prompt":   "q", "completion": "a", "id": 3}', GOOD], "b.jsonl"))
    other = read_manifest(made_from(tmp_path, [GOOD, GOOD, GOOD], "c.jsonl"))
    assert first.content_hash == spaced.content_hash != other.content_hash


def test_pages_and_search_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "GROUP_ROWS", 10)
    rows = [
        {"messages": [{"role": "user", "content": f"frage {n}"}, {"role": "assistant", "content": "x"}]}
        for n in range(35)
    ]
    rows[20]["messages"][1]["content"] = "NÄHE 你好"
    folder = made_from(tmp_path, rows)
    assert [row.row for row in read_rows(folder, start=8, count=5)] == [9, 10, 11, 12, 13]
    assert [row.row for row in read_rows(folder, start=34, count=5)] == [35]
    assert read_rows(folder, start=35, count=5) == []
    assert [row.row for row in find_rows(folder, Wanted(search="你好"), start=0, count=5).rows] == [21]
    assert [row.row for row in find_rows(folder, Wanted(search="FRAGE"), start=10, count=3).rows] == [11, 12, 13]
    assert len(list(iterate_rows(folder))) == 35


def test_counts_and_kinds_across_row_groups_that_hold_different_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "GROUP_ROWS", 10)
    rows = [{"prompt": f"q {n}", "completion": "a", "category": "xyz"[n // 15]} for n in range(45)]
    faults = [{"prompt": "q"}] * 12 + ["{"] * 12
    folder = made_from(tmp_path, [*rows, *faults])
    assert categories(folder) == [("x", 15), ("y", 15), ("z", 15)]
    assert [row.row for row in find_rows(folder, Wanted(category="y"), start=13, count=9).rows] == [29, 30]
    assert sorted(row.row for row in rows_at(folder, [44, 3, 99]).values()) == [3, 44]
    groups = problem_groups(folder)
    assert sorted(group.rows for group in groups) == [12, 12] and {group.first.row for group in groups} == {46, 58}
    assert problem_rows(folder, "open", groups[0].code)[-1] - groups[0].first.row == 11
    cleaning.apply(folder, recipe.parse({"steps": [{"step": "split", "options": {}}]}), tmp_path / "split")
    sides = split_counts(tmp_path / "split")
    assert sum(sides["train"].values()) + sum(sides["test"].values()) == 45 and sides["train"].keys() == {"x", "y", "z"}


def test_revise_mends_and_leaves_out_in_the_old_order(tmp_path: Path):
    parent = made_from(tmp_path, [GOOD, '{"prompt": ', GOOD, {"prompt": "q"}, {"prompt": "q"}])
    before = (parent / MANIFEST).read_bytes()
    mended = json.dumps({"prompt": "Q", "completion": "A"})
    manifest = revise(parent, tmp_path / "v2", edits={2: mended, 5: '{"prompt": 7}'}, exclude=[3, 4])
    assert [row.row for row in read_rows(tmp_path / "v2", start=0, count=9)] == [1, 2]
    assert [(each.row, each.state) for each in read_problems(tmp_path / "v2", start=0, count=9)] == [
        (3, "excluded"),
        (4, "excluded"),
        (5, "open"),
        (5, "open"),
    ]
    assert (manifest.rows, manifest.problems, manifest.excluded, manifest.source_rows) == (2, 1, 2, 5)
    assert manifest.parent == read_manifest(parent).content_hash
    assert [step.operation for step in manifest.steps] == ["import", "edit", "exclude"]
    assert (parent / MANIFEST).read_bytes() == before
    assert count_problems(tmp_path / "v2") == 4


def test_an_excluded_row_comes_back_by_an_edit(tmp_path: Path):
    parent = made_from(tmp_path, [GOOD, GOOD])
    revise(parent, tmp_path / "v2", edits={}, exclude=[2])
    raw = read_problems(tmp_path / "v2", start=0, count=1)[0].raw
    manifest = revise(tmp_path / "v2", tmp_path / "v3", edits={2: raw}, exclude=[])
    assert (manifest.rows, manifest.excluded) == (2, 0)
    assert manifest.content_hash == read_manifest(parent).content_hash


@pytest.mark.parametrize(
    ("edits", "exclude", "code"), [({9: "{}"}, [], "data.no_such_row"), ({}, [1, 2], "data.no_rows_left")]
)
def test_a_revision_that_cannot_be_is_refused(tmp_path: Path, edits: dict, exclude: list, code: str):
    parent = made_from(tmp_path, [GOOD, GOOD])
    with pytest.raises(RefusedInput) as caught:
        revise(parent, tmp_path / "v2", edits=edits, exclude=exclude)
    assert caught.value.code == code


def test_a_folder_without_a_manifest_is_no_version(tmp_path: Path):
    with pytest.raises(RefusedInput, match="incomplete"):
        read_manifest(tmp_path)
