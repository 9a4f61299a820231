"""Several stages in a row, as runs with real processes: each begins where the one before was best."""

import pytest

from studio.db import checkpoints, datasets, models, pipelines
from studio.db.pipelines import NewStage, PipelineView, state_of
from studio.db.tables import Checkpoint
from studio.desk import Desk
from studio.errors import Conflict, RefusedInput, SpecRefused, UnknownName
from studio.protocol import read_spec
from tests.unit.advisor.test_preflight import inspection
from tests.unit.jobs.conftest import Shop

FACTS = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "x"}


@pytest.fixture
def desk(shop: Shop) -> Desk:
    made = Desk(shop.workspace, shop.writer)
    with shop.writer.begin() as session:
        models.add_model(session, name="small", source="local", path="/models/small", facts=FACTS)
        for number, (name, format) in enumerate((("texts", "text"), ("asked", "messages")), start=1):
            manifest = {"format": format, "shape": "chat", "rows": 90, "problems": 0, "excluded": 0}
            owner = datasets.reserve(session, name)
            hashed = manifest | {"content_hash": name}
            datasets.add_version(session, owner, number=1, path=f"v{number}", job_id=1, manifest=hashed)
            models.keep_inspection(session, "x", name, inspection())
    return made


@pytest.fixture
def begun(shop: Shop, desk: Desk) -> "Row":
    return Row(shop, desk)


class Row:
    """Pipelines of stages that a fake trainer runs."""

    def __init__(self, shop: Shop, desk: Desk) -> None:
        self.shop, self.desk = shop, desk

    def start(self, *stages: dict) -> int:
        made = [
            NewStage(
                title=f"stage {place}",
                values={"method": "sft", "tuning": "lora", "dataset": "asked", "steps": 4, "save_every": 2} | stage,
                chosen=[],
                plan={"reasons": {}},
                wanted_device=None,
                dataset_version_id=2,
                model_id=1,
            )
            for place, stage in enumerate(stages)
        ]
        with self.shop.writer.begin() as session:
            return pipelines.add(session, "row", made)

    def view(self, number: int = 1) -> PipelineView:
        with self.shop.writer.begin() as session:
            return pipelines.view(session, number)

    def until(self, *states: str) -> PipelineView:
        self.shop.until(lambda: self.view().state in states)
        return self.view()


@pytest.mark.parametrize(
    ("states", "is_stopped", "state"),
    [
        ([None, None], False, "waiting"),
        (["queued", None], False, "waiting"),
        (["starting", None], False, "running"),
        (["succeeded", None], False, "waiting"),
        (["succeeded", None], True, "stopped"),
        (["succeeded", "running"], True, "running"),
        (["succeeded", "lost", None], False, "failed"),
        (["cancelled", None], False, "stopped"),
        (["succeeded", "gone", None], False, "gone"),
        (["succeeded", "succeeded"], True, "succeeded"),
    ],
)
def test_a_pipeline_is_what_its_stages_are(states: list, is_stopped: bool, state: str) -> None:
    assert state_of(states, is_stopped=is_stopped) == state


def test_each_stage_begins_with_the_best_of_the_one_before(begun: Row) -> None:
    number = begun.start({}, {})
    first = begun.view().stages[0].job
    begun.shop.until(lambda: begun.shop.job(first).figures or begun.shop.job(first).state == "succeeded")
    assert begun.until("succeeded").id == number
    second = begun.view().stages[1].job
    with begun.shop.writer.begin() as session:
        best = pipelines.best_of(session, first)
    spec = read_spec(begun.shop.workspace.attempt(second, 1))
    assert spec.weights_from.digest == best.digest and spec.start_from is None
    assert [stage.state for stage in begun.view().stages] == ["succeeded", "succeeded"]


def test_the_best_is_the_lowest_held_out_loss_or_else_the_last(begun: Row) -> None:
    begun.start({}, {})
    begun.until("succeeded")
    first = begun.view().stages[0].job
    with begun.shop.writer.begin() as session:
        saved = checkpoints.list_checkpoints(session, first)
        assert len(saved) >= 2 and pipelines.best_of(session, first).id == saved[-1].id
        for each, loss in zip(saved, (0.5, 0.9), strict=False):
            session.get_one(Checkpoint, each.id).metrics = {"eval_loss": loss}
    assert begun.view().stages[0].best == saved[0].id and begun.view().stages[0].score == 0.5


def test_a_failed_stage_holds_the_next_and_goes_on_when_its_run_does(begun: Row) -> None:
    begun.start({"fail_at": 3}, {})
    view = begun.until("failed")
    assert [stage.state for stage in view.stages] == ["failed", "waiting"]
    begun.desk.resume_pipeline(1)
    assert begun.view().state in ("waiting", "running")


def test_the_next_stage_can_begin_with_what_a_failed_one_has_saved(begun: Row) -> None:
    begun.start({"fail_at": 3}, {})
    saved = begun.until("failed").stages[0].best
    begun.desk.next_stage(1)
    view = begun.until("succeeded")
    assert [stage.state for stage in view.stages] == ["failed", "succeeded"]
    spec = read_spec(begun.shop.workspace.attempt(view.stages[1].job, 1))
    with begun.shop.writer.begin() as session:
        assert spec.weights_from.digest == checkpoints.checkpoint(session, saved).digest


def test_nothing_saved_is_nothing_to_begin_with(begun: Row) -> None:
    begun.start({"fail_at": 1}, {})
    begun.until("failed")
    with pytest.raises(Conflict, match="saved nothing"):
        begun.desk.next_stage(1)


def test_stopped_it_begins_no_further_stage_until_it_is_resumed(begun: Row) -> None:
    begun.start({"steps": 400}, {})
    begun.until("running")
    with pytest.raises(Conflict, match="still runs"):
        begun.desk.next_stage(1)
    begun.desk.stop_pipeline(1)
    assert begun.until("stopped", "paused").stages[1].state == "waiting"
    begun.desk.resume_pipeline(1)
    assert begun.view().state in ("waiting", "running")


def test_a_deleted_run_leaves_its_place(begun: Row) -> None:
    begun.start({"fail_at": 3}, {})
    first = begun.until("failed").stages[0].job
    begun.desk.remove(first)
    assert [stage.state for stage in begun.view().stages] == ["gone", "waiting"]
    with pytest.raises(Conflict, match="deleted"):
        begun.desk.resume_pipeline(1)


# -- what is asked of the desk -----------------------------------------------------------------------------------------

STAGES = [
    {"model_name_or_path": "small", "dataset": "texts", "method": "pretrain", "lora_r": 16},
    {"dataset": "asked", "method": "sft", "learning_rate": 5e-4},
]


def test_all_stages_are_settled_at_once_and_train_the_same_weights(desk: Desk, begun: Row) -> None:
    number = desk.train_pipeline(STAGES, request_id="r")
    assert desk.train_pipeline(STAGES, request_id="r") == number, "the same request is the same pipeline"
    view = begun.view(number)
    assert [(stage.method, stage.dataset, stage.state) for stage in view.stages] == [
        ("pretrain", "texts@1", "queued"),
        ("sft", "asked@1", "waiting"),
    ]
    first = begun.shop.job(view.stages[0].job)
    assert first.values["lora_r"] == 16
    with begun.shop.writer.begin() as session:
        second = pipelines._stages(session, number)[1].values
    assert (second["lora_r"], second["learning_rate"], second["tuning"]) == (16, 5e-4, "lora")
    assert second["lora_target_modules"] == first.values["lora_target_modules"]


def test_a_policy_that_a_stage_has_tuned_is_held_to_it_and_a_stage_without_a_reward_is_refused(
    desk: Desk, begun: Row
) -> None:
    rewarded = {"dataset": "asked", "method": "grpo", "rewards": ["exact_match"]}
    number = desk.train_pipeline([STAGES[1] | {"model_name_or_path": "small"}, rewarded])
    with begun.shop.writer.begin() as session:
        assert pipelines._stages(session, number)[1].values["beta"] == 0.001
    del rewarded["rewards"]
    with pytest.raises(SpecRefused) as refused:
        desk.train_pipeline([STAGES[0], rewarded])
    assert [fault.field for fault in refused.value.faults] == ["stage 2: rewards"]


def test_faults_name_their_stage(desk: Desk) -> None:
    with pytest.raises(SpecRefused) as refused:
        desk.train_pipeline([STAGES[0], STAGES[1] | {"learning_rate": -1}])
    assert [fault.field for fault in refused.value.faults] == ["stage 2: learning_rate"]
    with pytest.raises(SpecRefused) as refused:
        desk.train_pipeline([STAGES[0], STAGES[1] | {"lora_r": 8}])
    assert [(fault.field, fault.code) for fault in refused.value.faults] == [
        ("stage 2: lora_r", "pipeline.other_weights")
    ]


def test_one_stage_is_no_pipeline_and_an_unknown_one_is_said(desk: Desk) -> None:
    with pytest.raises(RefusedInput):
        desk.train_pipeline(STAGES[:1])
    with pytest.raises(UnknownName):
        desk.stop_pipeline(7)
