"""Models that a reward may ask, read from the registry: untouched ones, and checkpoints of finished runs."""

import json
import math
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import checkpoints, models
from studio.db.tables import Checkpoint, Job, Model
from studio.errors import RefusedInput, UnknownName
from studio.jobs.lifecycle import ENDED
from studio.memory.asked import values_of_folder
from studio.params.tunings import is_compressed
from studio.protocol import AskedModel
from studio.rewards import recipe as recipes
from studio.rewards.judges import Judge, asked_names, by_name

SCORES = "reward.json"
"""What a reward model's checkpoint keeps of its scores (`trainers.rewards.reward_scores`)."""
MOST_BYTES = 1 << 16
MOST_CHECKPOINTS = 500
_GIVES = {"reward": "scores", "classify": "labels"}


def judges(session: Session) -> dict[str, Judge]:
    """Every model that could be asked, by every name that it goes by."""
    known = models.list_models(session)
    found = [
        Judge(
            name=each.name,
            title=each.name,
            gives="text",
            parameters=each.facts.get("parameters", 0),
            token_values=values_of_folder(each.path),
        )
        for each in known
    ]
    query = select(Checkpoint, Job, Model).join(Job, Checkpoint.job_id == Job.id)
    query = query.outerjoin(Model, Job.model_id == Model.id).order_by(Checkpoint.id.desc()).limit(MOST_CHECKPOINTS)
    rows = session.execute(query).all()
    best = _best(rows)
    return by_name(found + [_judge(*row, is_best=row[0].id in best) for row in rows])


def asked_models(session: Session, values: dict[str, Any]) -> dict[str, AskedModel]:
    """{name: where it lies} of the models that a job's reward asks; what is gone by now is left out."""
    from studio.jobs.serving import place_of

    found = {}
    for name in _names(values):
        try:
            column = {"checkpoint": int(name)} if name.isdecimal() else {"checkpoint": None, "model": name}
            place = place_of(session, column)
        except UnknownName:
            continue
        title = checkpoints.checkpoint(session, int(name)).run if name.isdecimal() else name
        found[name] = AskedModel(title=title, place=place)
    return found


def asked_checkpoints(session: Session) -> set[int]:
    """Numbers of the checkpoints that jobs which have not ended ask."""
    waiting = session.scalars(select(Job).where(Job.state.not_in(ENDED)))
    return {int(name) for job in waiting for name in _names(job.values) if name.isdecimal()}


def _names(values: dict[str, Any]) -> list[str]:
    reward = values.get("rewards") or values.get("reward")
    try:
        return asked_names(recipes.parse(reward)) if reward else []
    except RefusedInput:  # of a studio that knew other rules
        return []


def _best(rows: Any) -> set[int]:
    """Of each run the checkpoint with the least held-out loss, else the last one."""
    found: dict[int, tuple[Any, int]] = {}
    for saved, run, _ in rows:
        loss = saved.metrics.get("eval_loss")
        rank = (loss if loss is not None and math.isfinite(loss) else math.inf, -saved.step)
        if run.id not in found or rank < found[run.id][0]:
            found[run.id] = (rank, saved.id)
    return {number for _, number in found.values()}


def _judge(saved: Checkpoint, run: Job, base: Model | None, *, is_best: bool) -> Judge:
    gives = _GIVES.get(run.method or "", "text")
    is_squeezed = run.tuning is not None and is_compressed(run.tuning)
    return Judge(
        name=str(saved.id),
        title=f"{run.title} · {saved.step}",
        gives=gives,
        run=run.id,
        is_best=is_best,
        state=run.state,
        parameters=(base.facts if base else {}).get("parameters", 0),
        token_values=values_of_folder(base.path) if base else 0,
        squeezed_bits=(8 if run.values.get("load_in_8bit") else 4) if is_squeezed else 0,
        **(_scores(Path(saved.path)) if gives == "scores" else {}),
    )


def _scores(folder: Path) -> dict[str, float]:
    """Mean, spread and accuracy on held-out pairs; nothing where they were not kept, or cannot be read."""
    try:
        with (folder / SCORES).open("rb") as file:
            kept = json.loads(file.read(MOST_BYTES))
        found = {ours: float(kept[theirs]) for ours, theirs in _KEPT.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if all(map(math.isfinite, found.values())) else {}


_KEPT = {"mean": "mean", "spread": "std", "accuracy": "accuracy"}
