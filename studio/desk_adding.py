"""The desk's verbs that add rows to a data set: questions in other words, and rows that models wrote.

Both are off unless a person asks for them. See `studio.desk_data`, whose rules hold here too.
"""

from pathlib import Path
from typing import Any

import msgspec

from studio.db import datasets, models
from studio.db.jobs import NewJob
from studio.desk_data import check_name
from studio.desk_marks import MarksDesk
from studio.errors import RefusedInput
from studio.jobs.serving import place_of
from studio.protocol import utc_now
from studio.workshop import reports
from studio.workshop.adding import augmenting, written
from studio.workshop.adding.writing import FORMATS
from studio.workshop.versions.manifest import read_manifest

MOST_JUDGES = 8


class AddingDesk(MarksDesk):
    """What `Desk` can do to get more rows."""

    def augment_dataset(self, name: str, options: dict[str, Any] | None = None) -> int:
        """Queue a version with questions in other words, for fewer than 1,000 rows; returns the job.

        Raises:
            RefusedInput: too many rows, an unknown option, or a value that cannot be.
        """
        augmenting.check(Path(self._version(name).path), options or {})
        return self._change("augment", name, {"options": options or {}})

    def write_rows(
        self,
        name: str,
        model: str | dict[str, Any],
        kind: str = written.WRITE,
        *,
        judges: list[str | dict[str, Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> int:
        """Queue a job that has a model write candidates for new rows; it leaves a report and no version.

        Args:
            model: who writes: a model's name, or {"checkpoint": id}.
            kind: backtranslate, write or base, see `studio.workshop.adding.written`.
            judges: who says whether a candidate is any good; `write` needs at least one.
            options: any of `written.Options`.

        Raises:
            RefusedInput: a value that cannot be, or rows that hold no question and answer.
            UnknownName: no such data set, model or checkpoint.
        """
        asked = list(judges or [])
        _check(kind, model, asked)
        settings = msgspec.structs.asdict(written.options(options or {}))
        version = self._version(name)
        if (format := read_manifest(Path(version.path)).format) not in FORMATS:
            raise RefusedInput("data.written.format", name=version.name, format=format)
        with self._writer.begin() as session:
            writer, *jury = [named(session, each) for each in [model, *asked]]
        chosen = {"kind": kind, "writer": writer, "judges": jury} | settings
        place = reports.place(self.workspace, "written", [Path(version.path)], [chosen, utc_now()])
        source = {"number": version.version, "version": version.path, "content_hash": version.content_hash}
        values = {"operation": "write", "name": version.name, "report": str(place), **source, **chosen}
        return self._queue(NewJob(kind="write", title=version.name, values=values, needs_device=True))

    def accept_rows(
        self, name: str, report: str | Path, rows: list[int] | None = None, *, into: str | None = None
    ) -> int:
        """Queue a version with candidates of a report, or a new data set `into` that holds them alone.

        Args:
            rows: numbers of the candidates; None: all that rules and judges accepted.

        Raises:
            RefusedInput: no such report, one on another data set, or nothing to take.
        """
        folder = Path(report).resolve()
        if folder.parent != self.workspace.reports.resolve():
            raise RefusedInput("data.written.no_report", folder=str(report))
        version, known = self._version(name), written.read_report(folder)
        if known.dataset != version.name:
            raise RefusedInput("data.written.other_dataset", name=version.name, other=known.dataset)
        if rows == [] or (rows is None and not known.accepted):
            raise RefusedInput("data.written.nothing")
        taken = None if rows is None else [int(row) for row in rows]
        values = {"candidates": str(folder), "rows": taken, "only": into is not None}
        if into is None:
            return self._change("accept", name, values)
        check_name(into)
        with self._writer.begin() as session:
            if any(each.name == into for each in datasets.list_datasets(session)):
                raise RefusedInput("data.written.name_taken", name=into)
        return self._prepare("accept", into, values | {"parent": version.path})


def _check(kind: str, model: str | dict[str, Any], judges: list[Any]) -> None:
    if kind not in written.KINDS:
        raise RefusedInput("data.written.kind", kind=kind, known=", ".join(written.KINDS))
    if kind == written.BASE and isinstance(model, dict) and model.get("checkpoint") is not None:
        raise RefusedInput("data.written.base_is_trained")
    if kind == written.WRITE and not judges:
        raise RefusedInput("data.written.no_judge")
    if len(judges) > MOST_JUDGES:
        raise RefusedInput("data.written.too_many_judges", most=MOST_JUDGES)


def named(session: Any, asked: str | dict[str, Any]) -> dict[str, Any]:
    """Whom to ask: a title to show, and where the weights lie."""
    from studio.db import checkpoints

    column = {"model": asked} if isinstance(asked, str) else asked
    if column.get("checkpoint") is not None:
        chosen = checkpoints.checkpoint(session, int(column["checkpoint"]))
        title = f"{chosen.run} · {chosen.step}"
        return {"title": title, "place": place_of(session, {"checkpoint": chosen.id})}
    title = models.model(session, str(column.get("model", ""))).name
    return {"title": title, "place": place_of(session, {"model": title})}
