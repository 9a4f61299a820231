"""The desk's verbs of labelling: rounds, marks, decisions, and the versions that come of them.

    start_round("support", "first", scale=stars(), by="random", count=50)            ->  3
    next_row(3, "Ann")                                                               ->  TaskView(id=9, row=17, ...)
    mark(9, "Ann", task.digest, Judgement(annotator="Ann", rating="4"))
    apply(3, Filter(least_rating=3))                                                 ->  job that makes the version

Rows are read page by page; a version is made in a job. Annotators are names: whoever opens the page says theirs.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from studio.db import datasets, label_results, labels
from studio.db.datasets import DatasetSummary
from studio.db.engine import Writer
from studio.db.labels import RoundView, TaskView
from studio.errors import Conflict, RefusedInput
from studio.paths import Workspace
from studio.protocol import utc_now
from studio.workshop.labelling import label_rows, mark_files
from studio.workshop.labelling.label_rows import ALL, RANDOM, SAMPLINGS
from studio.workshop.labelling.mark_files import MarkLine
from studio.workshop.labelling.marks import KINDS, LABELS, Filter, Judgement, Scale, left_out

MAX_ROUND_ROWS = 20_000
"""Nobody marks more by hand; a larger data set is sampled."""
MAX_ANNOTATORS = 10
MAX_TEXT_CHARACTERS = 100_000
CLAIM_SECONDS = 1800
"""So long a row on somebody's screen is kept from others."""
_MAX_NAME, _MAX_LABELS = 64, 20

Change = Callable[[str, str, dict[str, Any]], int]
"""Queues an operation that makes a version of a data set."""


class Labelling:
    """What the desk can do with rows that people judge."""

    def __init__(self, workspace: Workspace, writer: Writer, change: Change) -> None:
        self._workspace = workspace
        self._writer = writer
        self._change = change

    # -- rounds --------------------------------------------------------------------------------------------------

    def start_round(  # noqa: PLR0913 - what a round is
        self,
        dataset: str,
        name: str,
        *,
        scale: Scale,
        guide: str = "",
        tags: Sequence[str] = (),
        num_annotators: int = 1,
        by: str = ALL,
        count: int = MAX_ROUND_ROWS,
        seed: int = 42,
    ) -> int:
        """Ask for marks of rows of a data set's current version; returns the round.

        Args:
            num_annotators: marks wanted a row.
            by: all, random, findings (rows that the last look named) or disagreement (rows that check named).

        Raises:
            RefusedInput: a name, scale or sampling that cannot be, or no row to mark.
        """
        name = _name(name, "labels.round_name")
        _check_scale(scale)
        _check_between("labels.annotators", num_annotators, MAX_ANNOTATORS)
        _check_between("labels.count", count, MAX_ROUND_ROWS)
        if by not in SAMPLINGS:
            raise RefusedInput("labels.sampling", by=by, known=", ".join(SAMPLINGS))
        version = self._version(dataset)
        folder = Path(version.path)
        among = () if by in (ALL, RANDOM) else label_rows.found_rows(self._workspace, folder, by)
        rows = label_rows.sample(folder, by=by, count=count, seed=seed, among=among)
        if not rows:
            raise RefusedInput(f"labels.no_rows_{by}" if by not in (ALL, RANDOM) else "data.no_rows_left")
        known = label_rows.digests(folder, rows)
        with self._writer.begin() as session:
            return labels.add_round(
                session,
                datasets.reserve(session, version.name),
                [(row, known[row]) for row in rows],
                name=name,
                guide=_text(guide),
                scale=scale,
                tags=_tags(tags),
                num_annotators=num_annotators,
                sampling={"by": by, "count": count, "seed": seed},
                version_number=version.version,
            )

    def edit_guide(self, round_id: int, guide: str) -> None:
        with self._writer.begin() as session:
            labels.change_round(session, round_id, guide=_text(guide))

    def close_round(self, round_id: int, *, is_closed: bool = True) -> None:
        """Ask for no more marks; what was said stays, and the round can be opened again."""
        with self._writer.begin() as session:
            labels.change_round(session, round_id, is_closed=is_closed)

    def refresh(self, round_id: int) -> RoundView:
        """The round, brought up to the data set's current version: rows that changed want a mark again."""
        with self._writer.begin() as session:
            found = labels.label_round(session, round_id)
            version = datasets.dataset(session, found.dataset)
            if version.version == found.version_number:
                return found
            rows = labels.task_rows(session, round_id)
        known = label_rows.digests(Path(version.path), rows)
        with self._writer.begin() as session:
            labels.set_digests(session, round_id, version.version, known)
            return labels.label_round(session, round_id)

    # -- marking -------------------------------------------------------------------------------------------------

    def next_row(self, round_id: int, annotator: str) -> TaskView | None:
        """The row that an annotator marks next, theirs until it is marked or skipped; None when nothing is left."""
        who = _name(annotator, "labels.annotator_name")
        if self.refresh(round_id).is_closed:
            return None
        stale = (datetime.now(UTC) - timedelta(seconds=CLAIM_SECONDS)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._writer.begin() as session:
            return labels.claim_next(session, round_id, labels.annotator_id(session, who), now=utc_now(), stale=stale)

    def mark(self, task_id: int, annotator: str, digest: str, said: Judgement) -> None:
        """Save what an annotator says of the row that they were shown.

        Raises:
            RefusedInput: nothing was said, or a rating that the scale does not have.
        """
        who = _name(annotator, "labels.annotator_name")
        with self._writer.begin() as session:
            found = self._open_round(session, task_id)
            said = _checked(found.scale, said)
            shown = labels.annotator_id(session, who)
            labels.keep_mark(session, task_id, shown, digest, said, now=utc_now(), seconds=_seconds_since)
            _keep_tags(session, found, said)

    def skip(self, task_id: int, annotator: str, digest: str) -> None:
        """Leave a row to others."""
        who = _name(annotator, "labels.annotator_name")
        with self._writer.begin() as session:
            self._open_round(session, task_id)
            shown = labels.annotator_id(session, who)
            labels.keep_mark(session, task_id, shown, digest, None, now=utc_now(), seconds=_seconds_since)

    def undo(self, round_id: int, annotator: str) -> int:
        """Take an annotator's last mark or skip back; returns the row, which comes to them next.

        Raises:
            Conflict: there is none (a decided row's mark stays).
        """
        who = _name(annotator, "labels.annotator_name")
        with self._writer.begin() as session:
            row = labels.take_back(session, round_id, labels.annotator_id(session, who))
        if row is None:
            raise Conflict("labels.nothing_to_undo")
        return row

    def decide(self, task_id: int, arbiter: str, digest: str, said: Judgement) -> None:
        """Record the final word on a row that annotators dispute, or somebody flagged.

        Raises:
            Conflict: it was decided before.
            RefusedInput: nothing was said.
        """
        who = _name(arbiter, "labels.annotator_name")
        with self._writer.begin() as session:
            found = labels.label_round(session, labels.task(session, task_id).round_id)
            said = _checked(found.scale, said)
            labels.keep_decision(session, task_id, labels.annotator_id(session, who), digest, said)
            _keep_tags(session, found, said)

    def import_marks(self, round_id: int, path: str) -> int:
        """Take over marks from a file that `studio.workshop.labelling.mark_files` reads; returns how many. All or none.

        Raises:
            RefusedInput: the first line at fault, and why.
        """
        return self.take_marks(round_id, mark_files.read_marks(Path(path).expanduser()))

    def take_marks(self, round_id: int, lines: Sequence[MarkLine]) -> int:
        """`import_marks` of lines that were read already."""
        with self._writer.begin() as session:
            found = labels.label_round(session, round_id)
            for line in lines:
                task = labels.task_of_row(session, round_id, line.row)
                if task is None:
                    raise RefusedInput("labels.file_row", line=line.line, row=line.row, round=found.name)
                if line.said.rating is not None and line.said.rating not in found.scale.values:
                    known = ", ".join(found.scale.values)
                    raise RefusedInput("labels.file_rating", line=line.line, rating=line.said.rating, known=known)
                who = labels.annotator_id(session, _name(line.said.annotator, "labels.annotator_name"))
                digest = line.digest or task.digest
                if digest is None:
                    raise RefusedInput("labels.file_row", line=line.line, row=line.row, round=found.name)
                said = _checked(found.scale, line.said)
                labels.keep_mark(session, task.id, who, digest, said, now=utc_now(), seconds=line.seconds)
                _keep_tags(session, found, said)
        return len(lines)

    # -- what comes of it ----------------------------------------------------------------------------------------

    def outcome(self, round_id: int, chosen: Filter) -> dict[str, Any]:
        """What `apply` would do: `left_out` (row -> code and values), `corrections`, `only`, `disputed` rows."""
        found = self.refresh(round_id)
        with self._writer.begin() as session:
            results = label_results.results(found.scale, label_results.marks(session, round_id))
        reasons = {row: left_out(each, chosen, found.scale, found.name) for row, each in results.items()}
        out = {row: reason for row, reason in reasons.items() if reason}
        corrections = {row: each.correction for row, each in results.items() if each.correction and not each.disputes}
        return {
            "round": found.name,
            "left_out": out,
            "corrections": {row: text for row, text in corrections.items() if row not in out}
            if chosen.use_corrections
            else {},
            "only": sorted(results) if chosen.drop_unmarked else None,
            "disputed": sorted(row for row, each in results.items() if each.disputes),
        }

    def apply(self, round_id: int, chosen: Filter) -> int:
        """Queue the version that keeps the rows of `chosen`, its answers corrected; returns the job.

        Raises:
            Conflict: the data set is being changed already.
            RefusedInput: nothing would change.
        """
        outcome = self.outcome(round_id, chosen)
        if not outcome["left_out"] and not outcome["corrections"] and outcome["only"] is None:
            raise RefusedInput("labels.nothing_to_do", round=outcome["round"])
        with self._writer.begin() as session:
            dataset = labels.label_round(session, round_id).dataset
        values = {name: outcome[name] for name in ("round", "only")}
        for name in ("left_out", "corrections"):
            values[name] = {str(row): value for row, value in outcome[name].items()}
        return self._change("marks", dataset, values)

    # -- what the verbs share ------------------------------------------------------------------------------------

    def _version(self, dataset: str) -> DatasetSummary:
        with self._writer.begin() as session:
            return datasets.dataset(session, dataset)

    def _open_round(self, session: Any, task_id: int) -> RoundView:
        found = labels.label_round(session, labels.task(session, task_id).round_id)
        if found.is_closed:
            raise Conflict("labels.closed", name=found.name)
        return found


def _checked(scale: Scale, said: Judgement) -> Judgement:
    """What was said, trimmed; a correction that is empty is none."""
    correction = _text(said.correction) if said.correction and said.correction.strip() else None
    if said.rating is not None and said.rating not in scale.values:
        raise RefusedInput("labels.rating", rating=said.rating, known=", ".join(scale.values))
    checked = msgspec.structs.replace(said, tags=tuple(_tags(said.tags)), correction=correction, note=_text(said.note))
    if checked.rating is None and not (checked.tags or checked.correction or checked.note or checked.is_flagged):
        raise RefusedInput("labels.nothing_said")
    return checked


def _keep_tags(session: Any, found: RoundView, said: Judgement) -> None:
    """Tags that an annotator made up are offered to the next."""
    new = [tag for tag in said.tags if tag not in found.tags]
    if new:
        labels.change_round(session, found.id, tags=[*found.tags, *new])


def _check_scale(scale: Scale) -> None:
    if scale.kind not in KINDS:
        raise RefusedInput("labels.scale", kind=scale.kind, known=", ".join(KINDS))
    values = [value.strip() for value in scale.values]
    if not 2 <= len(set(values)) == len(values) <= _MAX_LABELS or not all(0 < len(it) <= _MAX_NAME for it in values):
        raise RefusedInput(
            "labels.values" if scale.kind == LABELS else "labels.scale", most=_MAX_LABELS, kind=scale.kind
        )


def _check_between(code: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RefusedInput(code, value=value, most=most)


def _name(name: str | None, code: str) -> str:
    words = " ".join((name or "").split())
    if not 0 < len(words) <= _MAX_NAME:
        raise RefusedInput(code, most=_MAX_NAME)
    return words


def _tags(tags: Sequence[str]) -> list[str]:
    cleaned = [" ".join(tag.replace(";", " ").split())[:_MAX_NAME] for tag in tags]
    return list(dict.fromkeys(tag for tag in cleaned if tag))


def _text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise RefusedInput("labels.text_long", most=MAX_TEXT_CHARACTERS)
    return text


def _seconds_since(shown_at: str) -> float:
    began = datetime.fromisoformat(shown_at.replace("Z", "+00:00"))
    return round(max(0.0, (datetime.now(UTC) - began).total_seconds()), 1)
