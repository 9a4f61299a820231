"""Rejection sampling with real weights: a model answers, a reward chooses, what is taken is a data set with lineage."""

from pathlib import Path
from typing import Any

import pytest

from studio.graders.score import Row
from studio.rewards.keeping import BELOW, NOT_BEST
from studio.rewards.recipe import parse, to_document
from studio.rewards.scoring import score
from studio.workshop.adding.accepting import accept
from studio.workshop.adding.written import REJECTION_SAMPLING, Candidate, read_candidates, read_report
from studio.workshop.versions.reader import read_manifest, read_rows
from tests.trainers.jobs import model_ref, run_here, write_spec
from tests.trainers.test_score import ref
from tests.unit.workshop.making import pair, question, version
from trainers import rejection_sampling

REWARD = parse([{"name": "length", "min": 1, "max": 12, "unit": "words"}, {"name": "contains", "texts": ["a"]}])
ROWS, SAMPLES, BEST = 6, 4, 2


@pytest.fixture(scope="module", name="rows", params=["with answers", "questions alone"])
def fixture_rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = [f"What is {n} plus {n}?" for n in range(1, ROWS + 1)]
    made = [pair(each, "It is so.") if request.param == "with answers" else question(each) for each in asked]
    return version(tmp_path_factory.mktemp("rows") / "v1", made)


@pytest.fixture(scope="module", name="chosen")
def fixture_chosen(tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: Path) -> Path:
    """The report."""
    job = tmp_path_factory.mktemp("job") / "job"
    values: dict[str, Any] = {
        "name": "sums",
        "number": 1,
        "content_hash": "rows",
        "writer": {"title": "run · 3", "place": {"model_path": str(tiny)}, "checkpoint": 5},
        "base": "tiny",
        "reward": to_document(REWARD),
        "keeping": {"rows": ROWS, "samples": SAMPLES, "best": BEST, "threshold": 1.0, "seconds": 100.0},
        "rounds": 1,
        "report": "somewhere",
    }
    folder = write_spec(job, kind=REJECTION_SAMPLING, values=values, dataset=ref(rows), model=model_ref(tiny))
    result = run_here(rejection_sampling.main, folder)
    assert result.outcome == "succeeded", result
    return job / "output" / "report"


def everything(report: Path) -> list[Candidate]:
    return read_candidates(report, count=1000)


def test_of_each_question_the_answers_that_earn_most_are_kept(chosen: Path) -> None:
    found = everything(chosen)
    assert len(found) == ROWS * SAMPLES
    for each in found:
        assert score(REWARD, [each.answer], [Row(question=each.prompt)]).totals == [each.reward]
        assert each.accepted == (each.code is None)
        assert each.code != BELOW or each.reward < 1.0
    for row in range(1, ROWS + 1):
        own = [each for each in found if each.parent == row]
        kept = [each.reward for each in own if each.accepted]
        assert len(kept) <= BEST and all(reward >= 1.0 for reward in kept)
        assert all(each.reward <= min(kept) for each in own if each.code == NOT_BEST)


def test_the_report_tells_where_the_answers_come_from_and_how_varied_they_are(chosen: Path, rows: Path) -> None:
    report = read_report(chosen)
    kept = [each for each in everything(chosen) if each.accepted]
    assert (report.kind, report.model, report.asked, report.accepted) == (
        REJECTION_SAMPLING,
        "run · 3",
        ROWS,
        len(kept),
    )
    told = report.rollout
    assert (told.checkpoint, told.base, told.rounds, told.threshold) == (5, "tiny", 1, 1.0)
    assert told.questions_kept == len({each.parent for each in kept})
    assert 0 < told.variety <= 1, "a model of random weights hardly says anything twice"
    has_answers = read_manifest(rows).format == "prompt_completion"
    assert told.variety_before == (pytest.approx(2 / 12) if has_answers else None), "all six say: it is so"


def test_what_is_taken_is_a_data_set_to_learn_from_with_its_lineage(chosen: Path, rows: Path, tmp_path: Path) -> None:
    manifest, counts = accept(rows, chosen, None, tmp_path / "v1", only=True)
    kept = [each for each in everything(chosen) if each.accepted]
    assert counts == {"added": len(kept), "left_out": 0}
    step = manifest.steps[-1]
    assert step.parameters["kind"] == REJECTION_SAMPLING and step.parameters["checkpoint"] == 5
    assert parse(step.parameters["reward"]) == REWARD and step.parameters["base"] == "tiny"
    made = list(read_rows(tmp_path / "v1", start=0, count=100))
    assert [each.origin for each in made] == [f"augment:rollout:run · 3:{each.parent}" for each in kept]
    if manifest.format == "messages":
        said = [(each.messages[0]["content"], each.messages[1]["content"]) for each in made]
        assert all([turn["role"] for turn in each.messages] == ["user", "assistant"] for each in made)
    else:
        said = [(each.prompt, each.completion) for each in made]
    assert said == [(each.prompt, each.answer) for each in kept]
