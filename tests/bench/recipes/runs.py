"""One run: the studio's own trainer on a job folder, then the trained model's answers to the held-out rows.

What a task's form knows comes from the studio's own look at model and rows (`trainers.inspect`). All runs share one
process, which saves half a minute each for loading libraries; trl seeds everything anew at the start of each, before it
makes the adapter, so that their order changes nothing.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from studio.advisor.facts import Facts
from studio.protocol import DatasetRef
from studio.protocol import Result as JobResult
from tests.bench.recipes.settings import facts_of
from tests.bench.recipes.tasks import Task
from tests.starter import whole_starter
from tests.trainers.jobs import model_ref, run_here, write_dataset, write_spec
from trainers import inspect, sft
from trainers.models.batched import answer_all
from trainers.models.generation import Models, Place
from trainers.models.scoring import answer_losses
from trainers.rows.data import Findings, Sample

LIBRARIES = ("torch", "transformers", "trl", "peft")
SAVE_ONCE = 1_000_000
"""Steps between checkpoints: the last step saves itself."""


class Bench:
    """The starter model, kept loaded for judging, and a scratch folder for jobs."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._model = whole_starter().starter_model
        self._models = Models("cpu")

    def look(self, task: Task) -> Facts:
        """What the form knows of the task."""
        with self._job(task) as (job, dataset):
            folder = write_spec(job, kind="inspect", dataset=dataset, model=model_ref(self._model))
            figures = _figures(run_here(inspect.main, folder))
        return facts_of(figures, len(task.train))

    def measure(self, task: Task, values: dict[str, Any] | None) -> tuple[float, float, int, float]:
        """Train with `values` (None: not at all) and judge: held-out score and loss, steps, seconds of training."""
        if values is None:
            return *self._judge(task, self._model), 0, 0.0
        with self._job(task) as (job, dataset):
            values = values | {"save_steps": SAVE_ONCE}
            folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=values["seed"])
            figures = _figures(run_here(sft.main, folder))
            return *self._judge(task, _last_checkpoint(job)), figures["steps"], figures["seconds"]

    def _judge(self, task: Task, trained: Path) -> tuple[float, float]:
        """Mean score and mean loss over the held-out rows."""
        is_adapter = (trained / "adapter_config.json").exists()
        return self.judged(task, Place(str(self._model), str(trained)) if is_adapter else Place(str(trained)))

    def judged(self, task: Task, place: Place) -> tuple[float, float]:
        with self._models.ready(place) as (model, renderer):
            rows = enumerate((Sample(messages=task.messages(row)) for row in task.held_out), 1)
            losses = [each.loss for each in answer_losses(model, renderer, rows, max_length=None, findings=Findings())]
            asked = [renderer.prompt(task.asked(row)) for row in task.held_out]
            answers = answer_all(model, renderer, asked, max_new_tokens=task.max_new_tokens, until=math.inf)
        scores = [task.score(answer, wanted) for answer, (_, wanted) in zip(answers, task.held_out, strict=True)]
        return fmean(scores), fmean(losses)

    @contextmanager
    def _job(self, task: Task) -> Iterator[tuple[Path, DatasetRef]]:
        rows = [{"messages": task.messages(row)} for row in task.train]
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            yield Path(folder) / "job", write_dataset(Path(folder) / "data" / "v1", rows)


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _figures(result: JobResult) -> dict[str, Any]:
    if result.outcome != "succeeded":
        raise RuntimeError(f"The job ended as {result.outcome}: {result.reason} {result.values}")
    return result.figures


def _last_checkpoint(job: Path) -> Path:
    (folder,) = (job / "checkpoints").glob("step-*")
    return folder
