"""Labelling as the command line asks for it: plain values in the place of scales, judgements and filters.

    open_round("support", name="first", kind="stars", labels=[])   ->  3
    mark_row(3, 17, "Ann", rating="4", tags=["polite"])
    decide_row(3, 17, "Ann", rating="4")
    would(3, least_rating=3)                                       ->  {"left_out": {17: (...)}, "corrections": {}, ...}

The pages call `studio.labelling` itself; this is what stands behind `POST /api/do/labelling.<verb>`.
"""

from typing import Any, TypeVar

import msgspec

from studio.db import label_results
from studio.db import labels as labels_of_rounds
from studio.errors import RefusedInput
from studio.labelling import Labelling
from studio.workshop.labelling.label_rows import usual_sample
from studio.workshop.labelling.marks import Filter, Judgement, scale_of

Value = TypeVar("Value", Filter, Judgement)


class LabellingRequests(Labelling):
    """The verbs of labelling whose arguments are values of our own, asked for with plain ones."""

    def open_round(
        self,
        dataset: str,
        *,
        name: str,
        kind: str,
        labels: list[str],
        by: str | None = None,
        count: int | None = None,
        **asked: Any,
    ) -> int:
        """`start_round`; which rows and how many are those of the page's form unless they are said.

        Args:
            labels: the values of a scale of the kind `labels`.
            asked: guide, tags, num_annotators and seed.
        """
        usual_by, usual_count = usual_sample(self._version(dataset).rows)
        way = {"by": by or usual_by, "count": usual_count if count is None else count}
        return self.start_round(dataset, name, scale=scale_of(kind, labels), **way, **asked)

    def mark_row(self, round_id: int, row: int, annotator: str, **said: Any) -> None:
        """`mark` a row by its number as it stands now, with the fields of a `Judgement`; a second mark replaces it.

        Raises:
            RefusedInput: the round does not have the row, nothing was said, or a rating that the scale does not have.
            Conflict: the round is closed.
        """
        self.refresh(round_id)
        with self._writer.begin() as session:
            task = labels_of_rounds.task_of_row(session, round_id, row)
        if task is None or task.digest is None:
            raise RefusedInput("labels.not_in_round", row=row, round=round_id)
        self.mark(task.id, annotator, task.digest, _converted(said | {"annotator": annotator}, Judgement))

    def decide_row(self, round_id: int, row: int, arbiter: str, **said: Any) -> None:
        """`decide` on a row by its number, with the fields of a `Judgement`.

        Raises:
            RefusedInput: the row does not wait for a decision.
        """
        self.refresh(round_id)
        with self._writer.begin() as session:
            waiting = {task.row: task for task, _ in label_results.disputed(session, round_id)}
        if row not in waiting:
            raise RefusedInput("labels.not_disputed", row=row, round=round_id)
        judgement = _converted(said | {"annotator": arbiter}, Judgement)
        self.decide(waiting[row].id, arbiter, waiting[row].digest, judgement)

    def would(self, round_id: int, **chosen: Any) -> dict[str, Any]:
        """`outcome`, with the fields of a `Filter`."""
        return self.outcome(round_id, _converted(chosen, Filter))

    def apply_marks(self, round_id: int, **chosen: Any) -> int:
        """`apply`, with the fields of a `Filter`."""
        return self.apply(round_id, _converted(chosen, Filter))


def _converted(fields: dict[str, Any], kind: type[Value]) -> Value:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise RefusedInput("server.arguments", detail=str(error)) from None
