"""One run that learns from rewards: the studio's own trainer on a job folder, then the model's held-out answers.

Every method writes the same number of answers, `ANSWERS`; PPO learns from each batch of them several times, as its form
fills in, and so takes more optimizer steps. Before and after, the model answers each held-out question twice: by its
likeliest words, and by chance at the temperature of the training.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from studio.advisor.complete import complete
from studio.advisor.facts import facts_from
from studio.alarms.curves import curve
from studio.alarms.watching import watch
from studio.protocol import DatasetRef
from tests.bench.recipes.runs import SAVE_ONCE, _figures, _last_checkpoint
from tests.bench.recipes.settings import MACHINE
from tests.bench.rl.tasks import Task
from tests.starter import whole_starter
from tests.trainers.jobs import events_of, model_ref, run_here, write_dataset, write_spec
from trainers import grpo, inspect, ppo, rloo
from trainers.models.generation import Models, Place

METHODS = {"grpo": grpo, "rloo": rloo, "ppo": ppo}
ANSWERS = 400
"""That a run writes and learns from."""
BATCH = 16
"""Answers of one step."""
SAMPLING_SEED = 1234
TEMPERATURE = 0.7
"""At 1 a model this small mostly wanders off, and hardly an answer scores."""


class Bench:
    """The starter model and a scratch folder for jobs."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._model = whole_starter().starter_model

    def settings(self, task: Task, method: str, changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        """What the form fills in around the task's reward, the size of a step, and what is tried."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            spec = write_spec(Path(folder) / "job", kind="inspect", dataset=_rows(task, folder), model=self._ref)
            figures = _figures(run_here(inspect.main, spec))
        facts = facts_from(figures, machine=MACHINE, rows=len(task.train))
        named = {"model_name_or_path": "starter", "dataset": "task", "method": method, "seed": seed}
        sizes = {"per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1, "validation_split": 0.0}
        asked = {
            "rewards": task.rewards,
            "temperature": TEMPERATURE,
            "max_completion_length": task.max_completion_length,
        }
        values, _ = complete(named | sizes | asked | changes, facts)
        uses = values["num_iterations"]
        return values | {"max_steps": uses * ANSWERS // BATCH, "logging_steps": 1, "save_steps": SAVE_ONCE}

    def train(self, task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
        """Reward by step, held-out rewards after, seconds and memory."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            job = Path(folder) / "job"
            made = {"dataset": _rows(task, folder), "model": self._ref, "values": dict(values), "seed": values["seed"]}
            spec = write_spec(job, **made)
            figures = _figures(run_here(METHODS[values["method"]].main, spec))
            steps = [(event.data["step"], event.data["values"]) for event in events_of(spec, "metric")]
            after = self.judged(task, Place(str(self._model), str(_last_checkpoint(job))))
        rewards = [round(each["reward"], 4) for _, each in steps if each.get("reward") is not None]
        alarms = first_alarms(steps, values)
        return {"rewards": rewards, "alarms": alarms, **after, "seconds": round(figures["seconds"], 1)}

    def judged(self, task: Task, place: Place | None = None) -> dict[str, list[float]]:
        """Reward of each held-out answer."""
        models = Models("cpu")
        with models.ready(place or Place(str(self._model))) as (model, renderer):
            asked = [renderer.prompt(task.asked(question)) for question, _ in task.held_out]
            likeliest = _answers(model, renderer.tokenizer, asked, task.max_completion_length, do_sample=False)
            torch.manual_seed(SAMPLING_SEED)
            by_chance = _answers(model, renderer.tokenizer, asked, task.max_completion_length, **BY_CHANCE)
        found = {"likeliest": task.scores(likeliest), "by_chance": task.scores(by_chance)}
        return {name: [round(value, 4) for value in values] for name, values in found.items()}

    @property
    def _ref(self) -> Any:
        return model_ref(self._model)


def first_alarms(steps: Sequence[tuple[int, Mapping[str, Any]]], values: Mapping[str, Any]) -> dict[str, int]:
    """The step at which each alarm rang first, as the run's page would have shown it."""
    rang: dict[str, int] = {}
    points: dict[str, list[tuple[int, float]]] = {}
    for step, told in steps:
        for name, value in told.items():
            points.setdefault(name, []).append((step, math.nan if value is None else value))
        curves = {name: curve(*zip(*known, strict=True)) for name, known in points.items()}
        for alarm in watch(curves, values):
            rang.setdefault(alarm.code, step)
    return rang


BY_CHANCE = {"do_sample": True, "temperature": TEMPERATURE, "top_p": 1.0, "top_k": 0}


def _rows(task: Task, folder: str) -> DatasetRef:
    rows = [
        {"messages": [*task.asked(question), {"role": "assistant", "content": wanted}]}
        for question, wanted in task.train
    ]
    return write_dataset(Path(folder) / "data" / "v1", rows)


def _answers(model: Any, tokenizer: Any, asked: list[list[int]], most: int, **sampling: Any) -> list[str]:
    """Answers to all questions (token numbers), padded on the left, a part of them at a time."""
    made: list[str] = []
    for start in range(0, len(asked), 50):
        part = asked[start : start + 50]
        longest = max(map(len, part))
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(each)) + each for each in part])  # (B, T)
        read = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in part])  # (B, T)
        ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=read, max_new_tokens=most, **ends, **sampling)
        made += tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
    return made
