"""How one goes on from a run that ended: the desk's verbs, and the panels on the run's page."""

import re
from html import escape
from pathlib import Path
from typing import Any

import pytest

from app.data.panel import Told
from app.i18n import number_text
from app.pages import checkpoints as checkpoints_page
from app.pages import runs as page
from app.runs import going_on, keeping, mending
from studio.db import checkpoints, datasets, jobs, lineage
from studio.db.tables import Checkpoint, Job
from studio.errors import Conflict, RefusedInput, SpecRefused, UnknownName
from studio.jobs.attempts import spec_of
from studio.messages import LANGUAGES
from studio.params.table import parameters
from tests.app.seeding import add_checkpoint, add_run

VALUES = {
    "max_steps": -1,
    "num_train_epochs": 2.0,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "gradient_checkpointing": False,
}


@pytest.fixture(params=LANGUAGES)
def context(request, filled):
    return filled.context(request.param)


def ended(filled, *, state: str = "succeeded", reason: str | None = None, steps=(30, 60), **values: Any) -> int:
    """A run of 30 steps an epoch, with checkpoints on the disk."""
    with filled.writer.begin() as session:
        job_id = add_run(session, title="two epochs", state=state, values=VALUES | values)
        job = session.get_one(Job, job_id)
        job.reason, job.reason_values = (
            reason,
            {"phase": "training", "device": "cpu", "batch": 4, "length": 128, "step": 7},
        )
        for step in steps:
            saved = checkpoints.checkpoint(session, add_checkpoint(session, job_id, step))
            row = filled.workspace.checkpoints(job_id) / f"step-{step}"
            row.mkdir(parents=True)
            (row / "manifest.json").write_text("{}")
            session.get_one(Checkpoint, saved.id).path = str(row)
    return job_id


def saved_of(filled, job_id: int) -> list[checkpoints.CheckpointView]:
    with filled.studio.registry.session() as session:
        return checkpoints.list_checkpoints(session, job_id)


def job_of(filled, job_id: int) -> jobs.JobView:
    with filled.studio.registry.session() as session:
        return jobs.job(session, job_id)


def test_a_run_goes_on_for_more_epochs_as_a_run_of_its_own(filled):
    job_id = ended(filled)
    middle, last = saved_of(filled, job_id)
    desk = filled.studio.desk
    new = desk.go_on(last.id, epochs=1.5, request_id="pressed once")
    assert desk.go_on(last.id, epochs=1.5, request_id="pressed once") == new, "a second press is the same run"
    job = job_of(filled, new)
    assert (job.state, job.values["num_train_epochs"], job.title) == ("queued", 3.5, "two epochs › 60")
    assert {"num_train_epochs", "max_steps"} == set(job.chosen)
    with filled.studio.registry.session() as session:
        origin = lineage.origin(session, new)
        assert len(jobs.events(session, new, types=("lineage",))) == 1
    assert (origin.run, origin.step, origin.digest, origin.path) == (job_id, 60, last.digest, last.path)
    other = job_of(filled, desk.go_on(middle.id, learning_rate=1e-5))
    assert (other.values["num_train_epochs"], other.values["learning_rate"]) == (2.0, 1e-5)
    assert job_of(filled, job_id).values["num_train_epochs"] == 2.0, "the run itself stays as it is"
    with filled.studio.registry.session() as session:
        assert lineage.origin(session, desk.duplicate(new)) == origin, "the same once more begins there too"


def test_where_steps_are_counted_epochs_are_added_as_steps(filled):
    job_id = ended(filled, max_steps=60)
    new = filled.studio.desk.go_on(saved_of(filled, job_id)[-1].id, epochs=0.5)
    assert job_of(filled, new).values["max_steps"] == 75


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        ({}, RefusedInput, "run.nothing_more"),
        ({"epochs": 1.0, "learning_rate": -1.0}, SpecRefused, "spec.refused"),
        ({"epochs": -5.0}, SpecRefused, "spec.refused"),
    ],
)
def test_nothing_to_train_and_values_out_of_bounds_are_refused(filled, given, error, code):
    last = saved_of(filled, ended(filled))[-1]
    with pytest.raises(error) as refused:
        filled.studio.desk.go_on(last.id, **given)
    assert refused.value.code == code


def test_a_checkpoint_that_is_gone_is_refused(filled):
    last = saved_of(filled, ended(filled))[-1]
    (Path(last.path) / "manifest.json").unlink()
    with pytest.raises(RefusedInput, match="step 60"):
        filled.studio.desk.go_on(last.id, epochs=1)
    with pytest.raises(UnknownName):
        filled.studio.desk.go_on(10_000, epochs=1)


def test_a_run_that_another_one_begins_with_is_not_deleted(filled):
    job_id = ended(filled)
    new = filled.studio.desk.go_on(saved_of(filled, job_id)[-1].id, epochs=1)
    with pytest.raises(Conflict) as refused:
        filled.studio.desk.remove(job_id)
    assert refused.value.code == "run.used_by_job" and refused.value.values["other"] == new


def test_the_page_has_the_form_and_its_press_leads_to_the_new_run(context, filled):
    job_id = ended(filled)
    middle, last = saved_of(filled, job_id)
    drawn = going_on.draw(context, job_id)
    assert context.say("runs.further.title") in drawn and f'value="{last.id}" selected' in drawn
    assert f'value="{middle.id}" selected' in going_on.draw(context, job_id, middle.id)
    assert drawn in page.draw(context, {"run": str(job_id)})
    fields = {"checkpoint": str(last.id), "epochs": "1", "rate": "0.0001"}
    goto = going_on.press(context, job_id, Told("further", {}, fields))
    new = max(int(number) for number in goto.split("=")[-1:])
    assert goto == f"/{context.language}/runs?run={new}"
    assert job_of(filled, new).values["learning_rate"] == 1e-4
    shown = going_on.draw(context, new)
    assert f"run={job_id}" in shown and context.say("runs.further.origin", step="60") in shown
    assert f"run={job_id}&amp;on={last.id}" in checkpoints_page.table_html(context, [last])
    with pytest.raises(RefusedInput):
        going_on.press(context, job_id, Told("further", {}, fields | {"epochs": "many"}))


def test_a_run_out_of_memory_offers_the_next_smaller_setting(context, filled):
    job_id = ended(filled, state="failed", reason="job.out_of_memory", steps=(30,))
    with filled.writer.begin() as session:
        job = session.get_one(Job, job_id)
        job.figures = {"peak_memory_bytes": 3 << 30}
        jobs.record_event(session, job_id, type="plan", data={"memory": {"allocated_bytes": 2 << 30}})
    drawn = mending.draw(context, job_id)
    assert "3.0 GiB" in drawn and "2.0 GiB" in drawn and context.say("runs.further.try_smaller") in drawn
    assert mending.press(context, job_id, Told("smaller", {}, {})) == ""
    job = job_of(filled, job_id)
    assert (job.state, job.reason) == ("queued", "job.smaller.per_device_train_batch_size")
    assert (job.values["per_device_train_batch_size"], job.values["gradient_accumulation_steps"]) == (2, 4)
    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    said = context.say("errors.job.smaller.per_device_train_batch_size", **changes)
    assert said in mending.draw(context, job_id) and said in page.draw(context, {"run": str(job_id)})[7]
    with pytest.raises(Conflict):
        filled.studio.desk.try_smaller(job_id)


def test_a_loss_that_was_no_number_offers_the_last_checkpoint_at_half_the_rate(context, filled):
    job_id = ended(filled, state="failed", reason="job.non_finite", steps=(30,))
    assert context.say("runs.further.slower", step="30", rate=number_text(1e-4)) in mending.draw(context, job_id)
    goto = mending.press(context, job_id, Told("slower", {}, {}))
    job = job_of(filled, int(goto.split("=")[-1]))
    assert job.values["learning_rate"] == 1e-4
    fine = ended(filled)
    with pytest.raises(Conflict):
        filled.studio.desk.try_slower(fine)


def of(drawn: str, do: str) -> dict[str, str]:
    """The data of the button `do` as the page was drawn."""
    return {"request": re.search(rf'data-do="{do}"[^>]*data-request="([^"]+)"', drawn)[1]}


def test_a_second_press_queues_nothing_twice_and_a_later_one_does(context, filled):
    job_id = ended(filled, state="failed", reason="job.non_finite", steps=(30,))
    last = saved_of(filled, job_id)[-1]
    fields = {"checkpoint": str(last.id), "epochs": "1", "rate": "0.0001"}
    pages = {
        "again": (keeping.draw, lambda told: keeping.press(context, job_id, told).goto, {}),
        "slower": (mending.draw, lambda told: mending.press(context, job_id, told), {}),
        "further": (going_on.draw, lambda told: going_on.press(context, job_id, told), fields),
        "anew": (going_on.draw, lambda told: going_on.press(context, job_id, told), fields),
    }
    for do, (draw, press, given) in pages.items():
        drawn = draw(context, job_id)
        assert drawn == draw(context, job_id), "a page of another window names the same request"
        told = Told(do, of(drawn, do), given)
        first = press(told)
        assert first and press(told) == first, do
        later = Told(do, of(draw(context, job_id), do), given)
        assert press(later) != first, do


def test_a_run_begins_anew_with_another_ones_weights(context, filled):
    job_id = ended(filled, seed=3)
    middle, last = saved_of(filled, job_id)
    drawn = going_on.draw(context, job_id)
    assert context.say("runs.further.anew.title") in drawn
    fields = {
        "checkpoint": str(middle.id),
        "dataset": "",
        "num_train_epochs": "4",
        "seed": "7",
        "learning_rate": "1e-5",
    }
    goto = going_on.press(context, job_id, Told("anew", of(drawn, "anew"), fields))
    new = job_of(filled, int(goto.split("=")[-1]))
    assert (new.values["num_train_epochs"], new.values["seed"], new.values["learning_rate"]) == (4.0, 7, 1e-5)
    assert isinstance(new.values["seed"], int) and {"seed", "learning_rate", "num_train_epochs"} <= set(new.chosen)
    with filled.writer.begin() as session:
        origin = lineage.origin(session, new.id)
        spec = spec_of(session, session.get_one(Job, new.id), filled.workspace, "cpu", 1, [])
    assert (origin.step, origin.weights_only, spec.start_from) == (30, True, None)
    assert (spec.weights_from.digest, spec.seed) == (middle.digest, 7)
    assert context.say("runs.further.anew.origin", step="30") in going_on.draw(context, new.id)
    desk = filled.studio.desk
    with filled.writer.begin() as session:
        assert lineage.origin(session, desk.duplicate(new.id)) == origin


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        ({"changes": {"lora_r": 64}}, SpecRefused, "run.fixed_anew"),
        ({"changes": {"learning_rate": -1.0}}, SpecRefused, "spec."),
        ({"dataset": "no such"}, UnknownName, "data.unknown"),
    ],
)
def test_what_the_weights_do_not_allow_is_refused_by_name(filled, given, error, code):
    last = saved_of(filled, ended(filled))[-1]
    with pytest.raises(error) as refused:
        filled.studio.desk.begin_anew(last.id, **given)
    codes = [fault.code for fault in refused.value.faults] if error is SpecRefused else [refused.value.code]
    assert codes[0].startswith(code)


def test_a_run_that_may_not_go_on_as_it_is_offers_a_new_one(context, filled):
    job_id = ended(filled, state="failed", reason="job.resumed_otherwise", steps=(30,))
    with filled.writer.begin() as session:
        session.get_one(Job, job_id).reason_values = {"step": 30, "names": "dataset, learning_rate"}
    head = page.draw(context, {"run": str(job_id)})[6]
    labels = {each.name: escape(each.label(context.language)) for each in parameters("sft")}
    assert labels["dataset"] in head and labels["learning_rate"] in head and "learning_rate" not in head
    drawn = mending.draw(context, job_id)
    assert context.say("runs.further.anew.at_once", step="30") in drawn
    goto = mending.press(context, job_id, Told("anew", of(drawn, "anew"), {}))
    assert job_of(filled, int(goto.split("=")[-1])).state == "queued"


def test_a_run_begun_anew_can_keep_what_this_one_learned(context, filled):
    job_id = ended(filled, lr_scheduler_type="cosine", optim="adamw_torch_fused")
    last = saved_of(filled, job_id)[-1]
    with filled.writer.begin() as session:
        manifest = {"format": "messages", "shape": "chat", "rows": 9, "problems": 0, "excluded": 0, "content_hash": "h"}
        owner = datasets.reserve(session, f"old-{context.language}")
        datasets.add_version(session, owner, number=1, path="v1", job_id=1, manifest=manifest)
        version = datasets.dataset(session, f"old-{context.language}").version_id
        session.get_one(Job, job_id).dataset_version_id = version
    drawn = going_on.draw(context, job_id)
    assert 'value="ewc"' in drawn and 'value="si"' not in drawn, "that run kept no count"
    fields = {"checkpoint": str(last.id), "dataset": "", "continual": "ewc"}
    goto = going_on.press(context, job_id, Told("anew", of(drawn, "anew"), fields))
    new = job_of(filled, int(goto.split("=")[-1]))
    assert (new.values["continual"], new.values["ewc_lambda"]) == ("ewc", 10000.0)
    assert new.values["old_dataset"] == f"old-{context.language}@1" and "replay_ratio" not in new.values
    with filled.writer.begin() as session:
        spec = spec_of(session, session.get_one(Job, new.id), filled.workspace, "cpu", 1, [])
    assert spec.old_dataset.name == f"old-{context.language}" and spec.weights_from.digest == last.digest
