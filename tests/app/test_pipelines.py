"""Pipelines on the pages: planned below the form, listed above the runs, acted on."""

import re

import pytest

from app.data.panel import Told
from app.pipelines import commands, listed, planned
from studio.db import datasets, jobs, pipelines
from studio.db.pipelines import NewStage
from studio.errors import RefusedInput
from studio.messages import LANGUAGES
from tests.app.seeding import STATES_TO


@pytest.fixture(params=LANGUAGES)
def context(request, filled):
    return filled.context(request.param)


def begun(filled, state: str) -> int:
    with filled.writer.begin() as session:
        manifest = {"format": "text", "shape": "text", "rows": 9, "problems": 0, "excluded": 0, "content_hash": "h"}
        datasets.add_version(session, datasets.reserve(session, "t"), number=1, path="v1", job_id=1, manifest=manifest)
        made = NewStage(
            title="a <b>stage</b>",
            values={"method": "sft", "tuning": "lora", "dataset": "t"},
            chosen=[],
            plan={"reasons": {}},
            wanted_device=None,
            dataset_version_id=datasets.dataset(session, "t").version_id,
            model_id=1,
        )
        number = pipelines.add(session, "first <i>texts</i>", [made, made])
        job = pipelines.view(session, number).stages[0].job
        for each in STATES_TO[state]:
            jobs.move(session, job, each)
    return number


def presses(html: str) -> set[str]:
    return set(re.findall(r'data-do="(\w+)"', html))


@pytest.mark.parametrize(
    ("state", "offered"),
    [("running", {"pipeline_stop"}), ("failed", {"pipeline_resume"}), ("cancelled", {"pipeline_resume"})],
)
def test_each_state_offers_what_can_be_done(context, filled, state, offered):
    begun(filled, state)
    html = listed.draw(context)
    assert presses(html) == offered
    assert "first &lt;i&gt;texts" in html and "<i>texts" not in html
    assert context.say("pipeline.state.waiting") in html


def test_a_press_stops_the_stage_and_another_panels_press_is_left_alone(context, filled):
    number = begun(filled, "running")
    assert not listed.press(context, Told("up", {"run": "1"}, {}))
    assert listed.press(context, Told("pipeline_stop", {"pipeline": str(number)}, {}))
    with filled.writer.begin() as session:
        job = pipelines.view(session, number).stages[0].job
        assert jobs.job(session, job).wish == "stop"


def test_the_fold_keeps_what_was_chosen_and_says_what_is_wrong(context):
    told = Told("change", {}, {"method2": "sft", "dataset2": "x", "method3": "", "dataset3": ""})
    chosen = planned.read(told)
    assert chosen.stages == (("sft", "x"), ("", ""))
    html = planned.draw(context, planned.Planned(chosen.stages, "<b>wrong</b>"))
    assert "&lt;b&gt;wrong" in html and 'value="sft" selected' in html and "<details" in html and "open" in html
    assert "classify" not in html


def test_a_file_says_once_what_holds_for_all_stages(tmp_path):
    asked = {"title": "t", "tuning": "lora", "stages": [{"dataset": "a"}, {"dataset": "b", "tuning": "full"}]}
    title, stages = commands.stages_in(asked, tmp_path)
    assert (title, stages) == ("t", [{"tuning": "lora", "dataset": "a"}, {"tuning": "full", "dataset": "b"}])
    for wrong in ({}, {"stages": "a"}, {"stages": ["a"]}, None):
        with pytest.raises(RefusedInput):
            commands.stages_in(wrong, tmp_path)
