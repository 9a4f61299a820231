"""`luthier data label` on a real registry."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app
from studio.errors import UnknownName
from tests.app.test_label_page import fixture_opened, two_who_disagree  # noqa: F401 - `opened` is a fixture


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
    text = (tmp_path / name).read_text("utf-8")
    assert text.startswith("row,annotator" if name.endswith(".csv") else '{"row": 1, "annotator": "Ann"')


def test_marks_come_in_and_make_a_version_through_the_server(marked, tmp_path):
    file = tmp_path / "marks.jsonl"
    file.write_text('{"row": 2, "annotator": "Cem", "rating": 4, "tags": ["rude"]}\n')
    marked.close()
    assert run("import", "1", str(file)) == {"marks": 1}
    (made,) = run("apply", "1", "--least-rating", "3", "--drop-tag", "rude")
    assert made["version"] == 2
