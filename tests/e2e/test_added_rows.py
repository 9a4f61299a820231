"""More rows on the command line: questions in other words, and rows written and judged by the starter model."""

import pytest

from studio.db import datasets
from tests.e2e.luthier import luthier
from tests.e2e.running_studio import RunningStudio

ROWS = [
    {"prompt": "What is the capital of France?", "completion": "Paris.", "category": "place"},
    {"prompt": "Who wrote Hamlet?", "completion": "Shakespeare.", "category": "book"},
    {"prompt": "What is the colour of snow?", "completion": "White.", "category": "nature"},
]

SHORT = ("--set", "max_new_tokens=24")


@pytest.fixture
def rows(studio: RunningStudio) -> RunningStudio:
    studio.import_rows(ROWS)
    return studio


def done(studio: RunningStudio, *arguments: object) -> dict:
    ran = luthier(studio.workspace, "data", *arguments, "--json")
    assert ran.code == 0, ran.err
    return ran.document


@pytest.mark.slow
def test_rows_are_augmented_written_judged_and_taken(rows: RunningStudio) -> None:
    added = done(rows, "augment", "style", "--set", "synonyms=false")
    assert (added["rows"], added["added"]) == (6, {"rephrase": 3})
    assert all(each["before"] != each["after"] for each in added["new"])
    done(rows, "fix", "style", "--exclude", added["new"][0]["row"])

    asked = (
        "--model",
        "starter",
        "--kind",
        "base",
        "--judge",
        "starter",
        "--set",
        "count=2",
        "--set",
        "max_new_tokens=96",
    )
    made = done(rows, "write", "style", *asked)
    assert (made["asked"], made["model"], made["judged_itself"]) == (2, "starter", True)
    sources = {row["prompt"] for row in ROWS}
    for each in made["rows"]:
        assert each["before"] in sources
        assert each["accepted"] == (each["code"] is None)
        assert each["code"] == "cut" or (each["answer"] and [vote["judge"] for vote in each["votes"]] == ["starter"])
    number = next(each["number"] for each in made["rows"] if each["answer"])
    alone = done(rows, "accept", "style", made["report"], "--row", number, "--into", "answers")
    assert (alone["rows"], alone["added"]) == (1, 1)
    version = rows.read(lambda session: datasets.dataset(session, "answers"))
    assert version.rows == 1

    taken = done(rows, "accept", "style", made["report"], "--row", number)
    assert (taken["rows"], taken["added"]) == (6, 1)

    through = done(rows, "write", "style", "--model", "starter", "--kind", "backtranslate", "--set", "count=1", *SHORT)
    assert through["asked"] == 1 and through["judges"] == []
    ran = luthier(rows.workspace, "data", "write", "style", "--model", "starter")
    assert ran.code != 0 and "judge" in ran.err
    ran = luthier(rows.workspace, "data", "accept", "style", made["report"], "--row", "99")
    assert ran.code != 0 and "99" in ran.err
