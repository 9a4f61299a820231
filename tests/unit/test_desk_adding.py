"""The desk's verbs that add rows: what they queue, and what they refuse before anything is queued."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from studio.db import jobs, models
from studio.db.jobs import NewJob
from studio.db.tables import Checkpoint, Job
from studio.desk_choosing import rounds_before
from studio.errors import Conflict, RefusedInput, UnknownName
from studio.rewards.recipe import parse
from studio.workshop.adding import written
from tests.unit.test_desk_data import Shop
from tests.unit.workshop.making import pair, version
from tests.unit.workshop.test_written import candidate, report


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    with made.writer.begin() as session:
        facts = {"architecture": "llama", "size_bytes": 1, "content_hash": "x"}
        models.add_model(session, name="small", source="local", path=str(tmp_path / "small"), facts=facts)
    yield made
    made.writer.close()


def test_augmenting_is_a_change_of_the_data_set(shop):
    job = shop.job(shop.desk.augment_dataset("support", {"per_row": 2}))
    assert (job.kind, job.values["operation"], job.values["options"]) == ("prepare", "augment", {"per_row": 2})
    assert job.values["parent"] == shop.summary("support").path
    with pytest.raises(Conflict):
        shop.desk.augment_dataset("support")


def test_augmenting_is_refused_for_many_rows_and_unknown_options(shop):
    many = [pair(f"Q{n}?", "A") for n in range(1000)]
    shop.enter("many", 1, version(shop.workspace.datasets / "many" / "v1", many))
    with pytest.raises(RefusedInput) as refused:
        shop.desk.augment_dataset("many")
    assert refused.value.code == "data.augment.too_many"
    with pytest.raises(RefusedInput, match="per_row"):
        shop.desk.augment_dataset("support", {"per_rows": 2})


def test_writing_is_a_job_on_the_device_that_changes_nothing(shop):
    first = shop.desk.write_rows("support", "small", judges=["small", {"model": "small"}], options={"count": 3})
    job = shop.job(first)
    assert (job.kind, job.values["kind"], job.values["count"]) == ("write", "write", 3)
    assert [judge["title"] for judge in job.values["judges"]] == ["small", "small"]
    assert job.values["writer"]["place"]["model_path"].endswith("small")
    assert Path(job.values["report"]).parent == shop.workspace.reports
    shop.desk.clean_dataset("support")
    second = shop.desk.write_rows("support", "small", "base")
    assert shop.job(second).values["report"] != job.values["report"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"kind": "wrong"}, "data.written.kind"),
        ({"kind": "write"}, "data.written.no_judge"),
        ({"kind": "write", "judges": ["small"] * 9}, "data.written.too_many_judges"),
        ({"kind": "base", "model": {"checkpoint": 1}}, "data.written.base_is_trained"),
        ({"kind": "base", "options": {"count": 0}}, "data.written.option"),
        ({"kind": "base", "options": {"counts": 1}}, "data.written.option"),
    ],
)
def test_what_cannot_be_written_is_refused(shop, arguments, code):
    with pytest.raises(RefusedInput) as refused:
        shop.desk.write_rows("support", **{"model": "small"} | arguments)
    assert refused.value.code == code
    for language in ("en", "zh"):
        assert refused.value.message(language)


def test_unknown_models_and_checkpoints_are_named(shop):
    with pytest.raises(UnknownName, match="smal"):
        shop.desk.write_rows("support", "smal", "base")
    with pytest.raises(UnknownName):
        shop.desk.write_rows("support", "small", "write", judges=[{"checkpoint": 7}])


def test_candidates_are_taken_into_the_data_set_or_one_of_their_own(shop):
    found = report(shop.workspace.reports / "written-a", candidate(1, 1), candidate(2, 2, code="voted_down"))
    job = shop.job(shop.desk.accept_rows("support", str(found), [2]))
    assert (job.values["operation"], job.values["rows"], job.values["only"]) == ("accept", [2], False)
    alone = shop.job(shop.desk.accept_rows("support", found, into="answers"))
    assert (alone.values["name"], alone.values["rows"], alone.values["only"]) == ("answers", None, True)
    assert written.reports_of(shop.workspace, "support") == [found]


def test_reports_elsewhere_on_others_or_without_candidates_are_refused(shop, tmp_path):
    found = report(shop.workspace.reports / "written-a", candidate(1, 1, code="voted_down"))
    outside = report(tmp_path / "written-b", candidate(1, 1))
    for name, folder, rows, into, code in (
        ("support", outside, [1], None, "data.written.no_report"),
        ("support", shop.workspace.reports / "none", [1], None, "data.written.no_report"),
        ("general", found, [1], None, "data.written.other_dataset"),
        ("support", found, None, None, "data.written.nothing"),
        ("support", found, [], None, "data.written.nothing"),
        ("support", found, [1], "general", "data.written.name_taken"),
    ):
        with pytest.raises(RefusedInput) as refused:
            shop.desk.accept_rows(name, folder, rows, into=into)
        assert refused.value.code == code


def test_answers_are_chosen_by_the_reward_that_a_run_learned_from(shop):
    rewards = [{"name": "length", "min": 1, "max": 12}]
    version_id = shop.summary("support").version_id
    with shop.writer.begin() as session:
        values = {"rewards": rewards, "tuning": "lora"}
        new = NewJob(
            kind="train", title="short", values=values, model_id=1, method="grpo", tuning="lora", needs_device=True
        )
        run = jobs.add_job(session, dataclasses.replace(new, dataset_version_id=version_id))
        saved = {"step": 3, "epoch": 1.0, "path": "x", "size_bytes": 1, "digest": "d", "metrics": {}}
        session.add(Checkpoint(id=5, job_id=run, attempt=1, created_at="2026-01-01T00:00:00Z", **saved))
    job = shop.job(shop.desk.choose_answers("support", {"checkpoint": 5}, options={"samples": 2}))
    assert (job.kind, job.values["base"], job.values["rounds"]) == ("rejection_sampling", "small", 0)
    assert (job.values["keeping"]["samples"], job.values["writer"]["checkpoint"]) == (2, 5)
    assert parse(job.values["reward"]) == parse(rewards)
    for model, reward, options, code in (
        ("small", None, {}, "reward.choosing.none"),
        ("small", rewards, {"threshold": 2}, "reward.choosing.threshold"),
        ("small", rewards, {"best": 0}, "reward.choosing.option"),
    ):
        with pytest.raises(RefusedInput) as refused:
            shop.desk.choose_answers("support", model, reward, options=options)
        assert refused.value.code == code and refused.value.message("zh")


def test_a_second_round_of_chosen_answers_is_counted(shop):
    """What the run learned from holds answers that were chosen already."""
    chosen = {"kind": "rejection_sampling"}
    folder = version(shop.workspace.datasets / "chosen" / "v1", [pair("A?", "B")])
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["steps"] = [{"operation": "written", "parameters": chosen, "rows_in": 1, "rows_out": 1}]
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    shop.enter("chosen", 1, folder)
    with shop.writer.begin() as session:
        new = NewJob(
            kind="train", title="t", values={}, needs_device=True, dataset_version_id=shop.summary("chosen").version_id
        )
        run = session.get(Job, jobs.add_job(session, new))
        assert rounds_before(session, run) == 1 and rounds_before(session, None) == 0
