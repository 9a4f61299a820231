"""What the advisor reads of a data set: its manifest, and the reports that real looks and checks left."""

import msgspec
import pytest

from studio.advisor.data_facts import DataFacts, read_data_facts
from studio.db.datasets import DatasetSummary
from studio.paths import Workspace
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.checking import check
from studio.workshop.cleaning import look
from studio.workshop.versions.manifest import read_manifest
from tests.unit.workshop.making import pair, version

ROWS = [
    pair("Where is my parcel?", "It is on its way."),
    pair("What does it cost?", "<p>Ten <b>euro</b></p>"),
    pair("Where is my parcel?", "It is on its way."),
    pair("Which strings does a viola have?", "C, G, D and A, a fifth below the violin."),
]


@pytest.fixture(name="workspace")
def fixture_workspace(tmp_path):
    return Workspace(tmp_path / "studio").make()


def summary(folder, **manifest):
    known = msgspec.to_builtins(read_manifest(folder)) | manifest
    same = {
        name: known[name] for name in ("rows", "problems", "excluded", "format", "shape", "content_hash", "created_at")
    }
    place = {"name": "d", "version": 1, "version_id": 1, "is_current": True, "parent": None, "path": str(folder)}
    return DatasetSummary(**place, **same, manifest=known)


def test_before_anyone_looked_nothing_is_said(workspace, tmp_path):
    assert read_data_facts(workspace, summary(version(tmp_path / "v1", ROWS))) == DataFacts()


def test_a_look_tells_duplicates_and_what_is_unclean(workspace, tmp_path):
    folder = version(tmp_path / "v1", ROWS)
    recipe = recipes.recommended()
    look(folder, recipe, reports.look_place(workspace, folder, recipe))
    found = read_data_facts(workspace, summary(folder))
    assert (found.was_looked_at, found.duplicates, found.unclean, found.was_checked) == (True, 1, 2, False), (
        "markup, and the spaces that it leaves"
    )


@pytest.mark.parametrize(("splits", "leaks"), [({3: "validation"}, 1), ({4: "validation"}, 0), ({}, None)])
def test_checks_tell_held_out_rows_that_are_trained_on(workspace, tmp_path, splits, leaks):
    folder = version(tmp_path / "v1", ROWS, splits=splits)
    check(folder, recipes.checks(None, {}), reports.check_place(workspace, folder, list(recipes.CHECKS), {}))
    found = read_data_facts(workspace, summary(folder))
    assert (found.was_checked, found.leaks, found.is_split) == (True, leaks, bool(splits))


def test_a_schema_of_the_version_and_a_folder_that_is_gone(workspace, tmp_path):
    steps = [{"operation": "task_schema", "parameters": {"kind": "json"}, "rows_in": 4, "rows_out": 4}]
    known = summary(version(tmp_path / "v1", ROWS), steps=steps, categories=3, splits={"validation": 1})
    (tmp_path / "v1").rename(tmp_path / "gone")
    assert read_data_facts(workspace, known) == DataFacts(has_schema=True, categories=3, is_split=True)
