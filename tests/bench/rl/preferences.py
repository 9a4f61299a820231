"""What learning from preferences brings: DPO, ORPO, KTO and a reward model on pairs of a right and an evasive answer.

    What is the capital of France?     better: It is Paris.     worse: That is a fine question, and people see it ...

A model prefers the answer whose mean log-probability a token is higher; a reward model the one that it scores higher.
Judged on pairs that no run has seen. The untouched model and an untrained reward model are the measure.
"""

import random
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.advisor.complete import complete
from studio.advisor.facts import facts_from
from tests.bench.recipes.runs import SAVE_ONCE, _figures, _last_checkpoint
from tests.bench.recipes.settings import MACHINE
from tests.bench.rl.results import UNTOUCHED
from tests.starter import whole_starter
from tests.trainers.jobs import model_ref, run_here, write_dataset, write_spec
from trainers import dpo, inspect, kto, orpo, reward
from trainers.models.generation import Models, Place
from trainers.models.scoring import answer_losses
from trainers.rows.data import Findings, Sample
from trainers.starter import corpus_pairs

NAME = "pairs"
METHODS = {"dpo": dpo, "orpo": orpo, "kto": kto, "reward": reward}
ROWS_SEED, TRAIN, HELD_OUT, STEPS, BATCH = 11, 120, 100, 16, 8
LONGEST = 90
"""Characters of a question and of its answer."""
EVASIONS = (
    "That is a fine question, and people see it in many different ways.",
    "There is a lot that could be said about this, and much of it is interesting.",
    "It depends on how you look at it, as so many things do.",
    "Many books have been written about this, and each of them says something else.",
    "Some would say one thing, some another, and both have their reasons.",
    "This has been discussed for a long time and will be for a long time to come.",
    "I could tell you, but finding out for yourself is half of the fun.",
    "Questions like this one show how much there is to learn in the world.",
)

HOW = (
    f"{TRAIN} pairs of a right and an evasive answer to learn from (KTO: as many single answers), {STEPS} steps of "
    f"{BATCH}, the form's own filling; judged on {HELD_OUT} other pairs: a model prefers the answer whose mean "
    "log-probability a token is higher. A reward model begins without an opinion, right in half of the pairs."
)

Pair = tuple[str, str, str]
"""Question, better and worse answer."""


@dataclass(frozen=True)
class Pairs:
    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def pairs() -> Pairs:
    chance = random.Random(ROWS_SEED)
    known = {asked: said for asked, said in corpus_pairs("trivia") if len(asked) <= LONGEST and len(said) <= LONGEST}
    made = [(asked, f"It is {said.rstrip('.')}.", chance.choice(EVASIONS)) for asked, said in known.items()]
    chance.shuffle(made)
    return Pairs(tuple(made[HELD_OUT:][:TRAIN]), tuple(made[:HELD_OUT]))


class Bench:
    """The starter model and a scratch folder for jobs."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._model, self._pairs = scratch, whole_starter().starter_model, pairs()

    def train(self, method: str, changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            rows = list(_rows(self._pairs.train, method))
            dataset = write_dataset(Path(folder) / "data" / "v1", rows)
            made = {"dataset": dataset, "model": model_ref(self._model)}
            found = _figures(run_here(inspect.main, write_spec(Path(folder) / "look", kind="inspect", **made)))
            named = {"model_name_or_path": "starter", "dataset": "pairs", "method": method, "seed": seed}
            sizes = {"per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1, "validation_split": 0.0}
            facts = facts_from(found, machine=MACHINE, rows=len(rows))
            values, _ = complete(named | sizes | {"max_steps": STEPS} | changes, facts)
            job = Path(folder) / "job"
            spec = write_spec(job, **made, values=values | {"save_steps": SAVE_ONCE}, seed=seed)
            figures = _figures(run_here(METHODS[method].main, spec))
            right = self.judged(Place(str(self._model), str(_last_checkpoint(job))), method)
        return {"learning_rate": values["learning_rate"], "right": right, "seconds": round(figures["seconds"], 1)}

    def judged(self, place: Place | None = None, method: str = UNTOUCHED) -> list[float]:
        """1 for each held-out pair whose better answer is preferred, else 0."""
        place = place or Place(str(self._model))
        scores = self._scored(place) if method == "reward" else self._likelihoods(place)
        return [float(better > worse) for better, worse in zip(scores[::2], scores[1::2], strict=True)]

    def _likelihoods(self, place: Place) -> list[float]:
        """Mean log-probability a token of each answer, the better one of a pair before the worse."""
        rows = enumerate((Sample(messages=turns) for turns in self._answers()), 1)
        with Models("cpu").ready(place) as (model, renderer):
            found = answer_losses(model, renderer, rows, max_length=None, findings=Findings())
            by_row = {each.row: -each.loss for each in found}
        return [by_row[row] for row in range(1, 2 * len(self._pairs.held_out) + 1)]

    def _scored(self, place: Place) -> list[float]:
        import torch

        from trainers.models.labelling import load_with_head

        model, renderer, _ = load_with_head(place, "cpu")
        scores = []
        for turns in self._answers():
            question, answer = renderer.answer(turns[:-1], turns[-1:])
            with torch.inference_mode():
                scores.append(float(model(input_ids=torch.tensor([question + answer])).logits))
        return scores

    def _answers(self) -> list[list[dict[str, str]]]:
        return [
            [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
            for asked, *both in self._pairs.held_out
            for said in both
        ]


def _rows(known: Iterable[Pair], method: str) -> Iterable[dict[str, Any]]:
    for place, (asked, better, worse) in enumerate(known):
        prompt = [{"role": "user", "content": asked}]
        sides = {"chosen": _said(better), "rejected": _said(worse)}
        if method != "kto":
            yield {"prompt": prompt, **sides}
        else:
            is_good = place % 2 == 0
            yield {"prompt": prompt, "completion": sides["chosen" if is_good else "rejected"], "label": is_good}


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
