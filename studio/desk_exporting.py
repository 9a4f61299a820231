"""The desk's verbs about what a run has learned as files: taken out for other programs, merged, several made one."""

import re
from pathlib import Path

from studio.db import checkpoints, models
from studio.db.checkpoints import CheckpointView
from studio.db.engine import Writer
from studio.db.jobs import NewJob, add_job
from studio.errors import RefusedInput
from studio.jobs.serving import place_of
from studio.params.tunings import TUNINGS, keeps_model
from studio.paths import Workspace

MOST_COMBINED = 8
MOST_WEIGHT = 4.0
HEADED = ("classify", "reward")
"""Methods that train a head of their own in place of the vocabulary's."""


class ExportingDesk:
    """What `Desk` can do with checkpoints beside asking them."""

    _writer: Writer
    workspace: Workspace

    def export_checkpoint(self, checkpoint: int, *, merge: bool = False) -> int:
        """Queue a folder in `exports/` that peft or transformers read, unless its tuning is ours; returns the job.

        Args:
            merge: make the adapter part of the base model's weights.

        Raises:
            UnknownName: no such checkpoint.
            RefusedInput: weights.whole_already, weights.cannot_merge.
        """
        with self._writer.begin() as session:
            chosen = checkpoints.checkpoint(session, checkpoint)
            if merge:
                _check_merge(chosen)
            base = models.model(session, chosen.model)
            place = place_of(session, {"checkpoint": chosen.id})
            folder = _free_name(self.workspace.exports, f"{_plain(chosen.run)}-step-{chosen.step}", merge)
            values = {"checkpoint": chosen.id, "place": place, "base": base.name, "merge": merge, "folder": folder}
            values["tuning"] = chosen.tuning
            return add_job(
                session,
                NewJob(kind="export", title=folder, values=values, needs_device=merge, model_id=base.id),
            )

    def combine_checkpoints(self, weights: dict[str, float]) -> int:
        """Queue one adapter made of several on the same base model; returns the job, whose checkpoint it will be.

        {"3": 0.7, "5": 0.3} -> job 9

        Args:
            weights: checkpoint -> how much of it; 0.5 and 0.5 make a mean.

        Raises:
            UnknownName: no such checkpoint.
            RefusedInput: weights.combine_*.
        """
        if not 2 <= len(weights) <= MOST_COMBINED:
            raise RefusedInput("weights.combine_number", most=MOST_COMBINED)
        for weight in weights.values():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < abs(weight) <= MOST_WEIGHT:
                raise RefusedInput("weights.combine_weight", value=weight, most=MOST_WEIGHT)
        with self._writer.begin() as session:
            chosen = [checkpoints.checkpoint(session, int(number)) for number in weights]
            _check_combination(chosen)
            base = models.model(session, chosen[0].model)
            adapters = [
                {"path": each.path, "digest": each.digest, "weight": float(weight)}
                for each, weight in zip(chosen, weights.values(), strict=True)
            ]
            values = {"model_path": base.path, "adapters": adapters, "load_in_8bit": chosen[0].load_in_8bit}
            title = " + ".join(
                f"{weight:g} × {each.run}" for each, weight in zip(chosen, weights.values(), strict=True)
            )
            same = {"tuning": chosen[0].tuning, "model_id": base.id}
            return add_job(session, NewJob(kind="combine", title=title[:120], values=values, needs_device=True, **same))


def _check_merge(chosen: CheckpointView) -> None:
    if keeps_model(chosen.tuning):
        raise RefusedInput("weights.whole_already", step=chosen.step, run=chosen.run)
    if chosen.method in HEADED:
        raise RefusedInput("weights.has_head", step=chosen.step, run=chosen.run)
    if not TUNINGS[chosen.tuning].merges:
        raise RefusedInput("weights.cannot_merge", step=chosen.step, run=chosen.run, tuning=chosen.tuning)


def _check_combination(chosen: list[CheckpointView]) -> None:
    for each in chosen:
        if each.method in HEADED:
            raise RefusedInput("weights.has_head", step=each.step, run=each.run)
        if not TUNINGS[each.tuning].combines:
            raise RefusedInput("weights.combine_cannot", step=each.step, run=each.run, tuning=each.tuning)
    first = chosen[0]
    for each in chosen[1:]:
        if (each.model, each.tuning, each.load_in_8bit) != (first.model, first.tuning, first.load_in_8bit):
            raise RefusedInput("weights.combine_other_base", run=each.run, model=each.model, other=first.model)


def _plain(title: str) -> str:
    return re.sub(r"[^\w-]+", "-", title).strip("-")[:60] or "run"


def _free_name(folder: Path, name: str, merge: bool) -> str:
    name = f"{name}-merged" if merge else name
    taken = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 10_000))) if each not in taken)
