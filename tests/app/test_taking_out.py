"""Checkpoints are taken out and combined: what the page and the commands ask, and what is refused in words."""

import json

import pytest
from typer.testing import CliRunner

from app import client
from app.api import VERBS
from app.checkpoints import taking_out
from app.cli import app
from studio.db import checkpoints, jobs
from studio.db.tables import Job
from studio.errors import RefusedInput
from studio.jobs.products import take_product
from studio.messages import LANGUAGES


def saved(filled):
    with filled.studio.registry.session() as session:
        return checkpoints.list_checkpoints(session)


def retuned(filled, tuning):
    """Every run as if it had been trained in another way."""
    with filled.writer.begin() as session:
        for job in session.query(Job).filter(Job.kind == "train"):
            job.tuning = tuning


def job_of(filled, job_id):
    with filled.studio.registry.session() as session:
        return jobs.job(session, job_id)


def test_the_page_offers_what_there_is_and_lists_what_was_asked(filled):
    context = filled.context()
    first = saved(filled)[0]
    taken, addable, made = taking_out.draw(context, {})
    assert first.id in [value for _, value in taken["choices"]] and addable["choices"] == taken["choices"]
    assert made == ""
    assert f"step-{first.step}-merged" in taking_out.take_out(context, first.id, "yes")
    with pytest.raises(RefusedInput):
        taking_out.take_out(context, None, "no")


def test_what_cannot_be_added_up_is_not_offered_for_it(filled):
    retuned(filled, "prompt_tuning")
    taken, addable, _ = taking_out.draw(filled.context(), {})
    assert taken["choices"] and not addable["choices"]


@pytest.mark.parametrize(("tuning", "code"), [("full", "whole_already"), ("prompt_tuning", "cannot_merge")])
def test_what_cannot_be_merged_is_said_and_leaves_as_it_is(filled, tuning, code):
    retuned(filled, tuning)
    desk, first = filled.studio.desk, saved(filled)[0]
    with pytest.raises(RefusedInput) as refused:
        desk.export_checkpoint(first.id, merge=True)
    assert refused.value.code == f"weights.{code}"
    values = job_of(filled, desk.export_checkpoint(first.id)).values
    assert values["merge"] is False and values["place"]["digest"] == first.digest


def test_the_folder_that_a_job_leaves_is_moved_among_the_exports(filled):
    job_id = filled.studio.desk.export_checkpoint(saved(filled)[0].id)
    folder = job_of(filled, job_id).values["folder"]
    made = filled.workspace.job(job_id) / "output" / "export" / folder
    made.mkdir(parents=True)
    (made / "adapter_config.json").write_text("{}")
    with filled.writer.begin() as session:
        take_product(session, filled.workspace, session.get_one(Job, job_id))
    assert (filled.workspace.exports / folder / "adapter_config.json").exists() and not made.exists()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("tuning", "is_ours"), [("bottleneck", True), ("lora", False)])
def test_a_folder_that_no_other_program_reads_says_so_before_and_after(filled, language, tuning, is_ours):
    retuned(filled, tuning)
    context, first = filled.context(language), saved(filled)[0]
    assert (taking_out.tell_how(context, first.id)["info"] == context.say("weights.ours_help")) == is_ours
    assert taking_out.tell_how(context, None)["info"] == context.say("weights.how_help")
    job_id = context.desk.export_checkpoint(first.id)
    with filled.writer.begin() as session:
        session.get_one(Job, job_id).state = "succeeded"
    assert (context.say("weights.ours") in taking_out.made_html(context)) == is_ours


def test_folders_have_names_of_their_own(filled):
    desk, first = filled.studio.desk, saved(filled)[0]
    folder = job_of(filled, desk.export_checkpoint(first.id)).values["folder"]
    (filled.workspace.exports / folder).mkdir(parents=True)
    assert job_of(filled, desk.export_checkpoint(first.id)).values["folder"] == f"{folder}-2"


def test_several_become_one_job_whose_checkpoint_is_asked_as_its_parts_are(filled):
    first, second = saved(filled)[:2]
    made = job_of(filled, filled.studio.desk.combine_checkpoints({str(first.id): 0.75, str(second.id): 0.25}))
    assert [each["weight"] for each in made.values["adapters"]] == [0.75, 0.25]
    assert (made.kind, made.tuning, made.model) == ("combine", first.tuning, first.model)


def test_nobody_trained_what_was_combined_so_no_run_goes_on_from_it(filled):
    first = saved(filled)[0]
    with filled.writer.begin() as session:
        session.get_one(Job, first.job_id).kind = "combine"
    with pytest.raises(RefusedInput) as refused:
        filled.studio.desk.go_on(first.id, epochs=1)
    assert refused.value.code == "run.not_a_run"


@pytest.mark.parametrize(
    ("weights", "code"),
    [({0: 1.0}, "combine_number"), ({0: 1.0, 1: 0.0}, "combine_weight"), ({0: 1.0, 1: 9.0}, "combine_weight")],
)
def test_weights_that_cannot_be_are_refused(filled, weights, code):
    found = saved(filled)
    with pytest.raises(RefusedInput) as refused:
        filled.studio.desk.combine_checkpoints({str(found[place].id): weight for place, weight in weights.items()})
    assert refused.value.code == f"weights.{code}"


def test_weights_are_read_as_people_write_them():
    assert taking_out.weights_of([3, 5], "0.7, 0.3") == {"3": 0.7, "5": 0.3}
    assert taking_out.weights_of([3, 5], "0.7，0.3") == {"3": 0.7, "5": 0.3}
    assert taking_out.weights_of([3, 5], "") == {"3": 0.5, "5": 0.5}
    for text in ("0.7", "a, b"):
        with pytest.raises(RefusedInput):
            taking_out.weights_of([3, 5], text)


@pytest.mark.parametrize(
    ("words", "verb", "wanted"),
    [
        (["export", "3", "--merge"], "export_checkpoint", {"checkpoint": 3, "merge": True}),
        (["combine", "3=0.7", "5=0.3"], "combine_checkpoints", {"weights": {"3": 0.7, "5": 0.3}}),
    ],
)
def test_a_command_is_a_verb_of_the_desk(filled, monkeypatch, words, verb, wanted):
    asked, job_id = [], filled.studio.desk.export_checkpoint(saved(filled)[0].id)
    monkeypatch.setattr(client, "call", lambda place, name, **given: asked.append((name, given)) or job_id)
    done = CliRunner().invoke(app, [*words, "--json"], env={"LUTHIER_HOME": str(filled.workspace.root)})
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["id"] == job_id
    assert asked == [(verb, wanted)] and verb in VERBS
