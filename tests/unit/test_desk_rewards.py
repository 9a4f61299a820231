"""The desk's verb about rewards: what it queues, what it refuses, and what it knows already."""

from pathlib import Path

import pytest

from studio.db import models
from studio.db.tables import Job
from studio.desk_rewards import scores_of
from studio.errors import RefusedInput, UnknownName
from studio.jobs.attempts import spec_of
from studio.labelling import Judgement
from studio.rewards import kept
from studio.rewards.answers_to_try import answers_to_try
from studio.rewards.kept import Samples, Trial
from studio.rewards.questions import questions
from studio.rewards.recipe import parse
from studio.rewards.trial import trial
from studio.workshop.labelling.marks import Settled, good_bad, stars
from tests.unit.rewards.test_judges import add_checkpoint, add_run
from tests.unit.test_desk_data import Shop

REWARD = [{"name": "exact_match"}]


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    with made.writer.begin() as session:
        facts = {"architecture": "llama", "size_bytes": 1, "content_hash": "hash of small"}
        models.add_model(session, name="small", source="local", path=str(tmp_path / "small"), facts=facts)
    yield made
    made.writer.close()


def ended(shop, job_id):
    """What a trial leaves, taken over by the studio."""
    job, output = shop.job(job_id), shop.workspace.job(job_id) / "output"
    rows = [each.row for each in questions(Path(shop.summary("support").path), count=9, seed=1)]
    report = trial(parse(job.values["reward"] or REWARD), rows, answers_to_try(rows, {}))
    found = Trial(
        dataset="support",
        version=1,
        model=None,
        is_proposed=False,
        sampled=0,
        verdict="x",
        report=report,
        created_at="1",
    )
    kept.keep(output / "report", found)
    if job.values.get("samples"):
        kept.keep(output / "samples", Samples(model="small", seconds=1.0, answers={}))
    shop.take(job_id, {"report": job.values["report"]})


def test_a_trial_is_a_job_once_and_then_known(shop):
    first = shop.desk.try_reward("support", REWARD)
    assert shop.desk.try_reward("support", REWARD) == first
    job = shop.job(first)
    assert (job.kind, job.values["operation"], job.dataset, job.needs_device) == (
        "trial",
        "try_reward",
        "support",
        False,
    )
    ended(shop, first)
    assert shop.desk.try_reward("support", {"rewards": ["exact_match"]}) is None
    assert kept.newest(shop.workspace, shop.summary("support").content_hash).dataset == "support"
    assert shop.desk.try_reward("support", [{"name": "exact_match", "weight": 2}]) is not None


def test_the_device_is_wanted_once_a_model_and_not_for_the_next_reward(shop):
    first = shop.desk.try_reward("support", REWARD, model="small")
    assert shop.job(first).needs_device
    ended(shop, first)
    second = shop.desk.try_reward("support", [{"name": "length"}], model="small")
    assert not shop.job(second).needs_device
    assert shop.job(second).values["samples"] == shop.job(first).values["samples"]
    assert shop.job(shop.desk.try_reward("support", REWARD, model="small", asking={"rows": 7})).needs_device


def test_what_annotators_said_of_the_answers_goes_along(shop):
    rated = shop.desk.labelling.start_round("support", "stars", scale=stars())
    for rating in ("5", "3"):
        task = shop.desk.labelling.next_row(rated, "Ann")
        shop.desk.labelling.mark(task.id, "Ann", task.digest, Judgement(annotator="Ann", rating=rating))
    values = shop.job(shop.desk.try_reward("support", REWARD)).values
    assert [(mark["row"], mark["rating"]) for mark in values["marks"]] == [(1, "good")]
    later = shop.desk.labelling.start_round("support", "thumbs", scale=good_bad())
    task = shop.desk.labelling.next_row(later, "Ann")
    shop.desk.labelling.mark(task.id, "Ann", task.digest, Judgement(annotator="Ann", rating="bad"))
    mine = [{"kind": "wrong", "row": 2, "rating": "bad"}]
    values = shop.job(shop.desk.try_reward("support", REWARD, marks=mine)).values
    assert [(mark["kind"], mark["row"], mark["rating"]) for mark in values["marks"]] == [
        ("wrong", 2, "bad"),
        ("own", 1, "bad"),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"reward": []},
        {"reward": [{"name": "lenght"}]},
        {"reward": REWARD, "marks": [{"kind": "own", "row": 1, "rating": "5"}]},
        {"reward": REWARD, "marks": [{"kind": "mine", "row": 1, "rating": "good"}]},
        {"reward": REWARD, "marks": ["good"]},
        {"reward": REWARD, "asking": {"rows": 0}},
        {"reward": REWARD, "asking": {"rows": 1.5}},
        {"reward": REWARD, "asking": {"samples": True}},
        {"reward": REWARD, "asking": {"row": 3}},
    ],
)
def test_what_cannot_be_is_refused_in_words(shop, asked):
    with pytest.raises(RefusedInput) as refused:
        shop.desk.try_reward("support", **asked)
    assert not refused.value.message().startswith("errors.")


def test_no_such_data_set_or_model(shop):
    with pytest.raises(UnknownName):
        shop.desk.try_reward("nothing", REWARD)
    with pytest.raises(UnknownName):
        shop.desk.try_reward("support", REWARD, model="nothing")


def test_a_reward_that_asks_a_model_names_it_for_certain_and_wants_the_device(shop, tmp_path):
    with shop.writer.begin() as session:
        base = models.model(session, "small").id
        run = add_run(session, base, method="reward")
        add_checkpoint(session, tmp_path, 7, run, 20, 0.4)
    job = shop.job(shop.desk.try_reward("support", [{"name": "reward_model", "model": f"run:{run}"}]))
    assert job.needs_device and job.values["reward"]["rewards"] == [
        {"name": "reward_model", "model": "7", "mean": 0.5, "spread": 2.0, "weight": 1.0}
    ]
    with shop.writer.begin() as session:
        spec = spec_of(session, session.get_one(Job, job.id), shop.workspace, "cpu", 1, [])
    assert spec.asked_models["7"].place["digest"] == "d7"
    with pytest.raises(RefusedInput, match="There is no reward model"):
        shop.desk.try_reward("support", [{"name": "reward_model", "model": "8"}])


def test_the_answers_of_a_trial_are_rated_only_where_a_model_was_asked(shop):
    with pytest.raises(RefusedInput, match="No model was asked"):
        shop.desk.rate_samples("support", "said")
    with pytest.raises(RefusedInput):
        shop.desk.pairs_of_marks("support", [{"row": 1, "answer": "x", "rating": "splendid"}], "pairs")


def test_ratings_are_shares_of_the_scale_and_disputed_rows_wait():
    said = {
        1: Settled(rating="5", score=5.0),
        2: Settled(rating="1", score=1.0, tags=("Cheat",)),
        3: Settled(rating="3", score=3.0, disputes=("rating",)),
        4: Settled(tags=("x",)),
    }
    assert scores_of(stars(), said) == ({1: 1.0, 2: 0.0}, [2])
    assert scores_of(good_bad(), {1: Settled(rating="good", score=0.75)}) == ({1: 0.75}, [])
