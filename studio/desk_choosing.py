"""The desk's verb for rejection sampling: a run's model answers, a reward chooses, a person takes what is kept.

    RL run -> choose_answers -> a person looks -> accept_rows(into=...) -> SFT of the untouched base -> RL again

See `studio.desk_adding`, whose candidates these are.
"""

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from studio.db import checkpoints, datasets, judges, lineage, models
from studio.db.jobs import NewJob
from studio.db.tables import Job
from studio.desk_adding import AddingDesk, named
from studio.desk_rewards import FORMATS
from studio.errors import RefusedInput
from studio.protocol import utc_now
from studio.rewards import keeping, recipe
from studio.rewards.judges import asked_names, settled
from studio.workshop import reports
from studio.workshop.adding.written import OPERATION, REJECTION_SAMPLING
from studio.workshop.versions.manifest import read_manifest

MOST_STAGES = 50
"""Runs that a model is followed back through."""


class ChoosingDesk(AddingDesk):
    """What `Desk` can do to choose answers by a reward."""

    def choose_answers(
        self,
        name: str,
        model: str | dict[str, Any],
        reward: dict[str, Any] | list[Any] | None = None,
        *,
        options: dict[str, Any] | None = None,
    ) -> int:
        """Queue a job in which a model answers the data set's questions and a reward chooses; it leaves a report.

        Args:
            model: who answers: {"checkpoint": id}, or an untouched model's name.
            reward: see `studio.rewards.recipe`; None: the one that the checkpoint's run learned from.
            options: any of `studio.rewards.keeping.Options`.

        Raises:
            RefusedInput: a value that cannot be, no reward, or rows that hold no question.
            UnknownName: no such data set, model or checkpoint.
        """
        chosen, version = keeping.options(options or {}), self._version(name)
        if version.format not in FORMATS:
            raise RefusedInput("reward.format", name=version.name, format=version.format)
        with self._writer.begin() as session:
            writer, run = named(session, model), _run_of(session, model)
            own = run.values.get("rewards") if run is not None else None
            if reward is None and own is None:
                raise RefusedInput("reward.choosing.none", name=writer["title"])
            parsed = recipe.parse(reward if reward is not None else own)
            if asked_names(parsed):
                parsed = settled(parsed, judges.judges(session))
            base = models.by_id(session, run.model_id).name if run is not None and run.model_id else writer["title"]
            rounds = rounds_before(session, run)
        keeping.threshold_of(parsed, chosen)
        values = {
            "operation": "choose_answers",
            "name": version.name,
            "number": version.version,
            "content_hash": version.content_hash,
            "writer": writer | {"checkpoint": model.get("checkpoint") if isinstance(model, dict) else None},
            "base": base,
            "reward": recipe.to_document(parsed),
            "keeping": msgspec.to_builtins(chosen),
            "rounds": rounds,
        }
        place = reports.place(self.workspace, "written", [Path(version.path)], [values, utc_now()])
        new = NewJob(
            kind=REJECTION_SAMPLING,
            title=version.name,
            values=values | {"report": str(place)},
            needs_device=True,
            dataset_version_id=version.version_id,
        )
        return self._queue(new)


def rounds_before(session: Session, run: Job | None) -> int:
    """How many of the data sets that led to a run's model hold answers which were chosen this way."""
    found = 0
    for _ in range(MOST_STAGES):
        if run is None:
            break
        if run.dataset_version_id:
            version = datasets.by_version_id(session, run.dataset_version_id)
            found += _holds_chosen(Path(version.path))
        origin = lineage.origin(session, run.id)
        run = session.get(Job, origin.run) if origin else None
    return found


def _holds_chosen(version: Path) -> bool:
    try:
        steps = read_manifest(version).steps
    except (OSError, RefusedInput):
        return False
    return any(step.operation == OPERATION and step.parameters.get("kind") == REJECTION_SAMPLING for step in steps)


def _run_of(session: Session, model: str | dict[str, Any]) -> Job | None:
    number = model.get("checkpoint") if isinstance(model, dict) else None
    return session.get(Job, checkpoints.checkpoint(session, int(number)).job_id) if number is not None else None
