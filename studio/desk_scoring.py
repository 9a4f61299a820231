"""The desk's verbs about how hard rows are: scored, with a model's losses where one is named, and kept with the rows.

A model's losses on a version are measured once (`studio.workshop.row_losses`): after that, asking takes no model. See
`studio.desk_data`, whose rules hold here too.
"""

from pathlib import Path
from typing import Any

import msgspec

from studio.db import checkpoints, datasets, jobs, models
from studio.db.datasets import DatasetSummary
from studio.db.jobs import NewJob
from studio.desk_data import DataDesk
from studio.errors import RefusedInput
from studio.jobs.lifecycle import LIVE
from studio.jobs.serving import place_of
from studio.paths import Workspace
from studio.workshop import recipe as recipes
from studio.workshop import reports, row_losses
from studio.workshop.recipe import CHECKS
from studio.workshop.row_losses import FORMATS, MAX_LENGTH, Scorer
from studio.workshop.versions.manifest import MANIFEST

CHECK = "difficulty"


class ScoringDesk(DataDesk):
    """What `Desk` can do to tell easy rows from hard ones."""

    def check_difficulty(
        self,
        name: str,
        model: str | dict[str, Any],
        *,
        options: dict[str, Any] | None = None,
        load_in_4bit: bool = False,
        max_length: int = MAX_LENGTH,
    ) -> int | None:
        """Queue the check `difficulty` with a model's losses in its score; None if the answer is known already.

        Args:
            model: a model's name, or {"checkpoint": id}.
            load_in_4bit: squeeze a base model while loading; a checkpoint is loaded as it was trained.
            max_length: rows are cut there, as training cuts them.

        Raises:
            RefusedInput: a value that cannot be, or rows that hold no answer.
            UnknownName: no such data set, model or checkpoint.
        """
        recipes.options(CHECKS, CHECK, options or {})
        version = self._version(name)
        if version.format not in FORMATS:
            raise RefusedInput("data.check.losses_format", name=version.name, format=version.format)
        with self._writer.begin() as session:
            scorer = scorer_of(session, model, load_in_4bit=load_in_4bit, max_length=max_length)
        report = difficulty_place(self.workspace, version, scorer, options)
        losses = row_losses.place(self.workspace, version.content_hash, scorer)
        if reports.whole(losses):
            values = {"version": version.path, "checks": {CHECK: options or {}}, "losses": str(losses)}
            return self._report("check", version, values, report)
        values = {"losses": str(losses), "report": str(report), "options": options or {}}
        return self._measure(version, scorer, values | self._measured_before(version, scorer))

    def order_dataset(
        self,
        name: str,
        options: dict[str, Any] | None = None,
        *,
        model: str | dict[str, Any] | None = None,
        load_in_4bit: bool = False,
        max_length: int = MAX_LENGTH,
    ) -> int:
        """Queue a version whose rows have a difficulty, for a curriculum.

        Args:
            model: whose losses enter the score, see `check_difficulty`; they must have been measured.

        Raises:
            RefusedInput: they were not.
        """
        recipes.options(CHECKS, CHECK, options or {})
        values: dict[str, Any] = {"options": options or {}}
        if model:
            with self._writer.begin() as session:
                scorer = scorer_of(session, model, load_in_4bit=load_in_4bit, max_length=max_length)
            losses = row_losses.place(self.workspace, self._version(name).content_hash, scorer)
            if not reports.whole(losses):
                raise RefusedInput("data.check.not_asked", name=name, model=scorer.title)
            values["losses"] = str(losses)
        return self._change("order", name, values)

    def _measured_before(self, version: DatasetSummary, scorer: Scorer) -> dict[str, Any]:
        """The newest version on the way to this one on which the same losses are known, as a value of the job."""
        with self._writer.begin() as session:
            earlier = datasets.ancestors(session, version)
        for each in earlier:
            losses = row_losses.place(self.workspace, each.content_hash, scorer)
            if reports.whole(losses) and (Path(each.path) / MANIFEST).is_file():
                return {"before": {"losses": str(losses), "version": each.path}}
        return {}

    def _measure(self, version: DatasetSummary, scorer: Scorer, values: dict[str, Any]) -> int:
        """Queue the measuring of a model's losses, unless it is under way."""
        with self._writer.begin() as session:
            for job in jobs.list_jobs(session, kinds=("score",), states=LIVE | {"queued"}):
                if job.values["report"] == values["report"]:
                    return job.id
        named = {"operation": "score", "name": version.name, "scorer": msgspec.to_builtins(scorer)}
        return self._queue(
            NewJob(
                kind="score",
                title=version.name,
                values=named | values,
                needs_device=True,
                dataset_version_id=version.version_id,
            )
        )


def scorer_of(
    session: Any, asked: str | dict[str, Any], *, load_in_4bit: bool = False, max_length: int = MAX_LENGTH
) -> Scorer:
    """Whom to ask: weights, their hash, and a title to show.

    Raises:
        UnknownName: no such model or checkpoint.
        RefusedInput: no length of a row.
    """
    column = {"model": asked} if isinstance(asked, str) else asked
    if column.get("checkpoint") is not None:
        chosen = checkpoints.checkpoint(session, int(column["checkpoint"]))
        place = place_of(session, {"checkpoint": chosen.id})
        title, content = f"{chosen.run} · {chosen.step}", chosen.digest
    else:
        base = models.model(session, str(column.get("model", "")))
        place = place_of(session, {"model": base.name}) | {"load_in_4bit": load_in_4bit}
        title, content = base.name, base.content_hash
    given = {"title": title, "place": place, "content": content, "max_length": max_length}
    try:
        return msgspec.convert(given, Scorer)
    except msgspec.ValidationError as error:
        raise RefusedInput("data.cleaning.bad_option", step=CHECK, detail=str(error)) from None


def difficulty_place(
    workspace: Workspace, version: DatasetSummary, scorer: Scorer, options: dict[str, Any] | None = None
) -> Path:
    """Where the check's answer with this model's losses lies, whether it exists or not."""
    chosen = {CHECK: options} if options else {}
    return reports.check_place(workspace, Path(version.path), [CHECK], chosen, model=scorer.key)
