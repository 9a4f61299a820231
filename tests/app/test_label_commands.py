"""`luthier data label` on a real registry."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app
from studio.db import label_results
from studio.errors import RefusedInput, UnknownName
from tests.app.test_label_page import fixture_imported, fixture_opened, two_who_disagree  # noqa: F401 - fixtures


@pytest.fixture(name="marked")
def fixture_marked(opened):
    two_who_disagree(opened)
    return opened


def run(*arguments: str) -> object:
    ran = CliRunner().invoke(app, ["data", "label", *arguments, "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.output)


def test_rounds_and_their_agreement(marked):
    (found,) = run("rounds", "shop")
    assert (found["id"], found["name"], found["rows"], found["scale"]["kind"]) == (1, "first", 3, "stars")
    agreement = run("agreement", "1")
    assert (agreement["measure"], agreement["rows"], agreement["level"]) == ("cohen_weighted", 3, "few")
    assert agreement["pairs"][0]["who"] == ["Ann", "Ben"]
    with pytest.raises(UnknownName):
        CliRunner().invoke(app, ["data", "label", "agreement", "9"], catch_exceptions=False)


@pytest.mark.parametrize("name", ["marks.csv", "marks.jsonl"])
def test_marks_are_written_as_the_file_is_named(marked, tmp_path, name):
    assert run("export", "1", str(tmp_path / name)) == {"file": str(tmp_path / name), "marks": 6}
    text = (tmp_path / name).read_text("utf-8-sig")
    assert text.startswith("row,annotator" if name.endswith(".csv") else '{"row": 1, "annotator": "Ann"')


def test_the_rows_of_a_round_are_printed_with_their_digests_and_disputes_with_their_marks(marked):
    rows = run("rows", "1")
    assert [(each["row"], each["question"]) for each in rows] == [(n, f"Question {n}?") for n in (1, 2, 3)]
    with marked.registry.session() as session:
        assert {each["digest"] for each in rows} == {mark.digest for mark in label_results.marks(session, 1)}
    disputed = run("disputes", "1")
    assert [each["row"] for each in disputed] == [1, 3]
    assert [(mark["annotator"], mark["rating"]) for mark in disputed[0]["marks"]] == [("Ann", "1"), ("Ben", "5")]
    assert run("guide", "1")["guide"] == "Be <kind>."


def test_a_round_from_its_start_to_its_version_through_the_server(marked, tmp_path):
    file, guide = tmp_path / "marks.jsonl", tmp_path / "guide.md"
    file.write_text('{"row": 2, "annotator": "Cem", "rating": 4, "tags": ["rude"]}\n')
    guide.write_text("Be short.", "utf-8")
    marked.close()

    made = run("start", "shop", "--scale", "labels", "--label", "short", "--label", "long", "--guide", str(guide))
    assert (made["id"], made["rows"], made["guide"], made["name"]) == (2, 9, "Be short.", "Round 2")
    assert made["scale"]["values"] == ["short", "long"] and made["sampling"]["by"] == "all"
    guide.write_text("Be brief.", "utf-8")
    assert run("guide", "2", str(guide))["guide"] == "Be brief."
    assert run("close", "2")["is_closed"] and not run("reopen", "2")["is_closed"]
    with pytest.raises(RefusedInput, match="moons"):
        run("start", "shop", "--scale", "moons")

    run("decide", "1", "1", "--arbiter", "Dee", "--rating", "1")
    assert [each["row"] for each in run("disputes", "1")] == [3]
    with pytest.raises(RefusedInput, match="waits for no decision"):
        run("decide", "1", "2", "--arbiter", "Dee", "--rating", "1")

    assert run("import", "1", str(file)) == {"marks": 1}
    assert run("undo", "1", "--annotator", "Cem") == {"row": 2}
    assert run("import", "1", str(file)) == {"marks": 1}
    run("mark", "1", "3", "--annotator", "Eve", "--rating", "2", "--tag", "late", "--note", "first")
    run("mark", "1", "3", "--annotator", "Eve", "--rating", "5", "--tag", "late", "--flag")
    kept = tmp_path / "kept.jsonl"
    run("export", "1", str(kept))
    (eve,) = [each for each in map(json.loads, kept.read_text("utf-8").splitlines()) if each["annotator"] == "Eve"]
    assert (eve["row"], eve["rating"], eve["tags"], eve["is_flagged"], eve["note"]) == (3, "5", ["late"], True, "")
    assert run("undo", "1", "--annotator", "Eve") == {"row": 3}
    with pytest.raises(RefusedInput, match="Row 99 is not in round 1"):
        run("mark", "1", "99", "--annotator", "Eve", "--rating", "2")
    with pytest.raises(RefusedInput):
        run("mark", "1", "3", "--annotator", "Eve", "--rating", "9")
    wanted = ("apply", "1", "--least-rating", "3", "--drop-tag", "rude")
    assert run(*wanted, "--dry-run")["left_out"].keys() == {"1", "2"}
    (made,) = run(*wanted)
    assert made["version"] == 2 and made["rows"] == 7
