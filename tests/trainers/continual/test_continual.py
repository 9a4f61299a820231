"""A new task on a tuned model: what is held is held as the papers say, goes on bit-identical, and forgets less."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.i18n import LANGUAGES
from app.runs import scores
from studio.db.engine import Reader, Writer
from studio.db.tables import Attempt
from studio.jobs.ingest import ingest
from studio.messages import say
from studio.paths import Workspace
from studio.protocol import CheckpointRef, DatasetRef, utc_now
from tests.app.seeding import add_run
from tests.trainers.jobs import (
    ALL_TOKENS,
    SFT,
    events_of,
    model_ref,
    result_of,
    run_here,
    saved_by,
    write_dataset,
    write_spec,
    write_tiny_model,
)
from tests.trainers.resumed import metric_of
from trainers import sft
from trainers.continual.anchors import HoldsWeights
from trainers.continual.old_rows import replayed

WEIGHTS = "model.safetensors"
SETTINGS = SFT | {
    "max_steps": 12,
    "save_steps": 4,
    "eval_steps": 6,
    "validation_split": 0.2,
    "tuning": "full",
    "per_device_train_batch_size": 4,
    "learning_rate": 5e-3,
    "continual": "none",
}
KINDS = {
    "nothing": {"continual": "replay", "replay_ratio": 0.001},  # of hardly any row, so that old rows are scored
    "replay": {"continual": "replay", "replay_ratio": 0.5},
    "ewc": {"continual": "ewc", "ewc_lambda": 1e6},
    "si": {"continual": "si", "si_c": 1e4},
}


@pytest.fixture(scope="module")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all tokens of the starter: how strongly weights are held here was chosen for it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter, vocabulary=ALL_TOKENS)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetRef, DatasetRef]:
    """Two tasks that ask for opposite answers to the same questions."""
    place = tmp_path_factory.mktemp("data")
    old = [{"prompt": f"Is {n} in the box?", "completion": "Yes, it lies in the box."} for n in range(30)]
    new = [{"prompt": f"Is {n} in the box?", "completion": "No, somebody took it out."} for n in range(30)]
    return write_dataset(place / "old", old), write_dataset(place / "new", new)


@pytest.fixture(scope="module")
def spec(tiny: Path, tasks: tuple[DatasetRef, DatasetRef]) -> Callable[..., Path]:
    def make(job: Path, *, attempt: int = 1, **changes: Any) -> Path:
        fields = {name: changes.pop(name) for name in ("resume_from", "weights_from") if name in changes}
        is_new = "weights_from" in fields
        fields["dataset"] = tasks[is_new]
        values = SETTINGS | changes
        if values["continual"] != "none":
            fields["old_dataset"], values["old_dataset"] = tasks[0], "old"
        return write_spec(job, attempt=attempt, values=values, model=model_ref(tiny), **fields)

    return make


def weights_at(job: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(job / "checkpoints" / f"step-{step}" / WEIGHTS)


def old_losses(folder: Path) -> dict[int, float]:
    return metric_of(folder, "eval_old_loss")


@pytest.fixture(scope="module")
def first(spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    folder = spec(tmp_path_factory.mktemp("first") / "1", max_steps=40, save_steps=40, track_importance=True)
    assert run_here(sft.main, folder).outcome == "succeeded", result_of(folder)
    return saved_by(folder)[-1]


@pytest.fixture(scope="module")
def told_by(
    spec: Callable[..., Path], first: CheckpointRef, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Kind -> the attempt's folder of a run that learned the new task with it."""

    def run(kind: str) -> Path:
        folder = spec(tmp_path_factory.mktemp(kind) / "1", weights_from=first, **KINDS[kind])
        assert run_here(sft.main, folder).outcome == "succeeded", result_of(folder)
        return folder

    return cache(run)


@pytest.fixture(scope="module")
def forgotten(told_by: Callable[[str], Path]) -> float:
    """By how much the loss on old rows rose over the new task, with nothing done for them."""
    found = old_losses(told_by("nothing"))
    assert found[12] > found[0] + 1
    return found[12] - found[0]


@pytest.mark.parametrize("kind", ["ewc", *(pytest.param(each, marks=pytest.mark.slow) for each in ("replay", "si"))])
def test_less_is_forgotten(told_by: Callable[[str], Path], forgotten: float, kind: str) -> None:
    folder = told_by(kind)
    found = old_losses(folder)
    assert sorted(found) == [0, 6, 12], "scored before the first step and at every evaluation"
    assert found[12] - found[0] < 0.7 * forgotten
    values = [event.data for event in events_of(folder, "metric")]
    assert {each["step"] for each in values if "eval_loss" in each["values"]} == {0, 6, 12}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_runs_page_shows_both_tasks_side_by_side(
    told_by: Callable[[str], Path], workspace: Workspace, language: str
) -> None:
    """What two real runs told, taken in as the supervisor does."""
    writer, registry = Writer(workspace.registry), Reader(workspace.registry)
    shown = SimpleNamespace(registry=registry, say=lambda key, **values: say(key, language, **values))
    for kind in ("nothing", "ewc"):
        folder = told_by(kind)
        with writer.begin() as session:
            job = add_run(session, title=kind)
            fields = {"event_offset": 0, "invalid_lines": 0, "start_step": 0, "started_at": utc_now()}
            session.add(attempt := Attempt(job_id=job, number=1, **fields))
            session.flush()
            assert ingest(session, attempt, folder)
        old, new = old_losses(folder), metric_of(folder, "eval_loss")
        html = scores.draw(shown, job)
        rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)][1:]
        assert rows == [[str(step), f"{old[step]:.3f}", f"{new[step]:.3f}"] for step in (0, 6, 12)]
        (sentence,) = re.findall(r'<p class="lu-note[^>]*>(.*?)</p>', html)
        values = {"before": f"{old[0]:.3f}", "after": f"{old[12]:.3f}", "step": 12}
        assert kind == "ewc" or sentence == say("runs.labels.old.forgotten", language, **values)
    writer.close()
    registry.close()


@pytest.mark.parametrize("kind", ["si", pytest.param("ewc", marks=pytest.mark.slow)])
def test_a_run_gone_on_with_ends_as_one_left_alone(
    spec: Callable[..., Path], first: CheckpointRef, tmp_path: Path, kind: str
) -> None:
    left_alone = spec(tmp_path / "1", weights_from=first, **KINDS[kind])
    run_here(sft.main, left_alone)
    saved = saved_by(left_alone)[:1]
    resumed = spec(tmp_path / "2", attempt=2, weights_from=first, resume_from=saved, **KINDS[kind])
    run_here(sft.main, resumed)
    assert [each.step for each in saved_by(resumed)] == [8, 12]
    for name in (WEIGHTS, "anchors.safetensors", *(["path_integral.safetensors"] if kind == "si" else [])):
        ends = [(tmp_path / n / "checkpoints" / "step-12" / name).read_bytes() for n in "12"]
        assert ends[0] == ends[1], name


def test_the_path_integral_adds_up_to_what_the_loss_fell(first: CheckpointRef) -> None:
    kept = load_file(Path(first.path) / "path_integral.safetensors")
    omega = sum(float(each.sum()) for name, each in kept.items() if name.startswith("omega."))
    losses = [
        e.data["values"]["loss"]
        for e in events_of(Path(first.path).parents[1] / "attempts" / "1", "metric")
        if "loss" in e.data["values"]
    ]
    assert 0.3 * (losses[0] - losses[-1]) < omega < 3 * (losses[0] - losses[-1])


def test_si_without_what_it_needs_is_refused(spec: Callable[..., Path], tmp_path: Path) -> None:
    assert run_here(sft.main, spec(tmp_path / "1", continual="si", si_c=1.0)).reason == "job.nothing_counted"


def test_the_penalty_is_that_of_the_papers() -> None:
    class Plain:
        def compute_loss(self, model: Any) -> torch.Tensor:
            return torch.tensor(1.0)

    class Held(HoldsWeights, Plain):
        current_gradient_accumulation_steps = 2

    held, layer = Held(), torch.nn.Linear(2, 1, bias=False)
    held.model = layer
    torch.nn.init.zeros_(layer.weight)
    held.hold({"weight": torch.tensor([[2.0, 6.0]])})
    layer.weight.data += 1.0
    assert held.penalty().item() == pytest.approx(0.5 * (2.0 + 6.0))
    assert held.compute_loss(layer).item() == pytest.approx(1.0 + 4.0 / 2)
    layer.eval()
    assert held.compute_loss(layer) == 1.0


def test_replay_mixes_in_the_share_that_was_asked_for() -> None:
    from datasets import Dataset

    new = Dataset.from_dict({"row": list(range(80)), "row_weight": [2.0] * 80})
    old = Dataset.from_dict({"row": list(range(100, 110))})
    mixed = replayed(new, old, 0.2, seed=1)
    assert mixed["row"][:80] == list(range(80)) and len(mixed) == 100
    counts = [mixed["row"][80:].count(row) for row in range(100, 110)]
    assert counts == [2] * 10 and mixed["row_weight"][80:] == [1.0] * 20
    assert replayed(new, old, 0.2, seed=1)["row"] == mixed["row"]
