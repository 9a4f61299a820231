"""A reward tried in a job: with a real model's sampled answers, with kept ones, and with none."""

from pathlib import Path
from typing import Any

import pytest

from studio.rewards import kept
from studio.rewards.recipe import digest, parse
from tests.trainers.jobs import events_of, model_ref, run_here, write_spec
from tests.trainers.test_score import ref
from tests.unit.workshop.making import pair, version
from trainers import trial as job

ASKING = {"rows": 12, "samples": 3, "seconds": 60.0, "temperature": 1.0, "seed": 42}
REWARD = {"rewards": [{"name": "numeric_match"}, {"name": "length_penalty", "max": 20, "buffer": 10}]}


@pytest.fixture(scope="module", name="rows")
def fixture_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = [pair(f"What is {n} plus {n}?", str(2 * n)) for n in range(1, 16)]
    return version(tmp_path_factory.mktemp("rows") / "v1", pairs)


def trial_spec(place: Path, rows: Path, model: Path | None = None, **changes: Any) -> Path:
    values = {"reward": REWARD, "marks": [], "asking": ASKING, "report": "somewhere", "name": "data"} | changes
    if model is not None:
        values = {"samples": str(place / "kept")} | values
    return write_spec(place, kind="trial", values=values, dataset=ref(rows), model=model and model_ref(model))


@pytest.fixture(scope="module", name="tried")
def fixture_tried(tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: Path) -> Path:
    place = tmp_path_factory.mktemp("job") / "job"
    result = run_here(job.main, trial_spec(place, rows, tiny))
    assert result.outcome == "succeeded", result
    return place


def test_a_model_is_asked_several_times_and_never_scores(tried: Path) -> None:
    samples = kept.read_samples(tried / "output" / "samples")
    assert len(samples.answers) == 12 and all(len(each) == 3 for each in samples.answers.values())
    assert len({text for each in samples.answers.values() for text in each}) > 12  # drawn by chance
    found = kept.read_trial(tried / "output" / "report")
    assert (found.model, found.sampled, found.verdict, found.is_proposed) == ("tiny", 12, "not_yet", False)
    assert found.report.hash == digest(parse(REWARD)) and found.report.rows == 12
    assert found.report.wins == 1 and found.report.scoring < 0.2
    assert "never_scores" in [reason.code for reason in found.report.reasons]
    names = [event.data["name"] for event in events_of(tried / "attempts" / "1", "phase")]
    assert names[-2:] == ["reward.sample", "reward.try"]


def test_kept_answers_are_tried_without_loading_the_model(
    tried: Path, rows: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.score.load_libraries", lambda attempt: pytest.fail("the model was loaded"))
    other = {"rewards": [{"name": "contains", "texts": ["zebra"]}]}
    place = str(tried / "output" / "samples")
    result = run_here(job.main, trial_spec(tmp_path / "job", rows, tiny, reward=other, samples=place))
    assert result.outcome == "succeeded", result
    found = kept.read_trial(tmp_path / "job" / "output" / "report")
    assert found.sampled == 12 and found.report.reasons[0].code == "constant"


def test_without_a_reward_one_is_proposed_from_the_rows(rows: Path, tmp_path: Path) -> None:
    result = run_here(job.main, trial_spec(tmp_path / "job", rows, reward=None))
    assert result.figures["verdict"] == "not_yet"
    found = kept.read_trial(tmp_path / "job" / "output" / "report")
    assert found.is_proposed and found.report.recipe["rewards"][0]["name"] == "numeric_match"
    assert [reason.code for reason in found.report.reasons if reason.stops] == ["not_sampled"]


def test_in_no_time_nothing_is_asked_and_that_is_said(rows: Path, tiny: Path, tmp_path: Path) -> None:
    result = run_here(job.main, trial_spec(tmp_path / "job", rows, tiny, asking=ASKING | {"seconds": 0.0}))
    assert result.outcome == "succeeded", result
    found = kept.read_trial(tmp_path / "job" / "output" / "report")
    assert found.sampled == 0 and "not_sampled" in [reason.code for reason in found.report.reasons]


def test_marks_of_a_person_reach_the_report(rows: Path, tmp_path: Path) -> None:
    marks = [
        {"kind": kind, "row": row, "place": 0, "rating": rating}
        for row in range(1, 13)
        for kind, rating in (("own", "good"), ("wrong", "bad"))
    ]
    run_here(job.main, trial_spec(tmp_path / "job", rows, marks=marks))
    agreement = kept.read_trial(tmp_path / "job" / "output" / "report").report.agreement
    assert agreement.value == 1 and agreement.rows >= 10


def test_rows_without_questions_end_the_job_in_words(tmp_path: Path) -> None:
    empty = version(tmp_path / "v1", [pair("Hi", "Ho")], splits={1: "test"})
    result = run_here(job.main, trial_spec(tmp_path / "job", empty))
    assert (result.outcome, result.reason) == ("failed", "job.reward.no_rows")
