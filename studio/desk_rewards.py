"""The desk's verbs about rewards: one is checked, and tried on a data set before a run learns from it.

See `studio.desk_data`, whose rules hold here too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from studio.db import datasets, jobs, judges, label_results, labels, models
from studio.db.datasets import DatasetSummary
from studio.db.jobs import NewJob
from studio.desk_data import DataDesk, check_name
from studio.errors import RefusedInput
from studio.jobs.lifecycle import LIVE
from studio.rewards import kept, recipe
from studio.rewards.answers_to_try import KINDS, OWN
from studio.rewards.judges import asked_names, settled
from studio.rewards.kept import Asking
from studio.rewards.report import CHEAT, CHEATS, Mark
from studio.workshop import reports
from studio.workshop.labelling.agreement import Agreement, agreement
from studio.workshop.labelling.marks import BAD, GOOD, GOOD_BAD, MOST_STARS, STARS, Scale
from studio.workshop.versions.layout import MESSAGES, PREFERENCE, PROMPT, PROMPT_COMPLETION, UNPAIRED

FORMATS = (MESSAGES, PROMPT_COMPLETION, PREFERENCE, UNPAIRED, PROMPT)
BOUNDS = {"rows": (1, 1000), "samples": (1, 16), "seconds": (1, 86_400)}
GOOD_STARS, BAD_STARS = MOST_STARS - 1, 2
"""Stars from here on are good, up to here bad; between them a mark says neither."""


class RewardDesk(DataDesk):
    """What `Desk` can do with rewards."""

    def try_reward(
        self,
        name: str,
        reward: dict[str, Any] | list[Any] | None = None,
        *,
        model: str | None = None,
        marks: list[dict[str, Any]] | None = None,
        asking: dict[str, Any] | None = None,
    ) -> int | None:
        """Queue the trial of a reward on a data set; None where it is known already.

        Args:
            reward: see `studio.rewards.recipe`; None has one proposed from the data.
            model: the untouched model whose answers are tried too.
            marks: a person's, {"kind", "row", "place", "rating"}; those of labelling rounds are taken besides.
            asking: any of `Asking`.

        Raises:
            RefusedInput: a reward or value that cannot be, or rows that hold no question.
            UnknownName: no such data set or model.
        """
        chosen = recipe.parse(reward) if reward is not None else None
        if chosen is not None and asked_names(chosen):
            with self._writer.begin() as session:
                chosen = settled(chosen, judges.judges(session))
        version, how = self._version(name), _asking(asking or {})
        if version.format not in FORMATS:
            raise RefusedInput("reward.format", name=version.name, format=version.format)
        said = _marks(marks or [])
        with self._writer.begin() as session:
            base = models.model(session, model) if model else None
            said = [*said, *_labelled(session, version, {(mark.kind, mark.row) for mark in said})]
        digest = recipe.digest(chosen) if chosen else "proposed"
        called = [chosen.name] if chosen and chosen.name else []
        place = kept.trial_place(
            self.workspace, version.content_hash, digest, base and base.content_hash, said, how, *called
        )
        values = {
            "reward": recipe.to_document(chosen) if chosen else None,
            "marks": msgspec.to_builtins(said),
            "asking": msgspec.to_builtins(how),
            "report": str(place),
        }
        if base is not None:
            values["samples"] = str(kept.samples_place(self.workspace, base.content_hash, version.content_hash, how))
        if chosen is not None and asked_names(chosen):
            values["asked"] = str(kept.asked_place(self.workspace, version.content_hash))
        if reports.whole(place):
            place_seen(place)
            return None
        return self._try(version, base, values)

    def rate_samples(self, name: str, into: str) -> int:
        """Queue a new data set of what a model said while a reward was tried on `name`, to be rated; returns the job.

        Raises:
            RefusedInput: no trial on these rows asked a model, or a data set is called so already.
        """
        version = self._version(name)
        found = kept.newest_samples(self.workspace, version.content_hash)
        if found is None:
            raise RefusedInput("reward.no_samples", name=version.name)
        self._require_free(into)
        return self._prepare("sampled", into, {"version": version.path, "samples": str(found), "of": version.name})

    def pairs_of_marks(self, name: str, marks: list[dict[str, Any]], into: str) -> int:
        """Queue a new data set of preference pairs from marks made while a reward was tried on `name`.

        Args:
            marks: {"row", "answer", "rating"}: good, bad, or cheat for an answer that only pleases the reward.

        Raises:
            RefusedInput: nothing is marked bad or cheat, or a data set is called so already.
        """
        version = self._version(name)
        said = [{key: each.get(key) for key in ("row", "answer", "rating")} for each in marks if each.get("answer")]
        if any(each["rating"] not in (GOOD, BAD, CHEAT) or not isinstance(each["row"], int) for each in said):
            raise RefusedInput("reward.bad_mark")
        if all(each["rating"] == GOOD for each in said):
            raise RefusedInput("reward.nothing_rejected")
        self._require_free(into)
        told = {"marks": len(said), "of": version.name}
        return self._prepare("rated_pairs", into, {"version": version.path, "marks": said, "told": told})

    def pairs_of_ratings(self, round_id: int, into: str) -> int:
        """Queue a new data set of preference pairs from a round in which several answers to a question were rated.

        Raises:
            RefusedInput: the round has labels without an order, nobody rated an answer, or the name is taken.
        """
        current = self.labelling.refresh(round_id)
        if current.scale.kind not in (STARS, GOOD_BAD):
            raise RefusedInput("reward.unordered_ratings", round=current.name)
        version = self._version(f"{current.dataset}@{current.version_number}")
        with self._writer.begin() as session:
            said = label_results.marks(session, round_id)
        settled_rows = label_results.results(current.scale, said)
        scores, cheats = scores_of(current.scale, settled_rows)
        if not scores:
            raise RefusedInput("reward.nobody_rated", round=current.name)
        self._require_free(into)
        disputed = sum(bool(each.disputes) for each in settled_rows.values())
        told = {
            "round": current.name,
            "of": version.name,
            "agreement": agreement_of(current.scale, said).value,
            "disputed": disputed,
        }
        values = {"version": version.path, "scores": {str(row): it for row, it in scores.items()}, "cheats": cheats}
        return self._prepare("rated_pairs", into, values | {"told": told})

    def _require_free(self, name: str) -> None:
        check_name(name)
        with self._writer.begin() as session:
            if any(each.name == name for each in datasets.list_datasets(session)):
                raise RefusedInput("data.written.name_taken", name=name)

    def _try(self, version: DatasetSummary, base: Any, values: dict[str, Any]) -> int:
        """Queue the job, unless the same one is under way; the device is only wanted to ask a model or a judge."""
        from pathlib import Path

        with self._writer.begin() as session:
            for job in jobs.list_jobs(session, kinds=("trial",), states=LIVE | {"queued"}):
                if job.values["report"] == values["report"]:
                    return job.id
        is_asked = base is not None and not reports.whole(Path(values["samples"]))
        is_asked = is_asked or bool(values["reward"] and asked_names(recipe.parse(values["reward"])))
        return self._queue(
            NewJob(
                kind="trial",
                title=version.name,
                values={"operation": "try_reward", "name": version.name} | values,
                needs_device=is_asked,
                dataset_version_id=version.version_id,
                model_id=base.id if base is not None else None,
            )
        )


def place_seen(place: Any) -> None:
    """A trial that is asked for again is the newest one."""
    (place / reports.REPORT).touch()


def marks_of(scale: Scale, settled: Mapping[int, Any]) -> dict[int, str]:
    """{row: good or bad} of a labelling round's results; labels, and stars in the middle, say neither."""
    found = {}
    for row, each in settled.items():
        if scale.kind == GOOD_BAD and each.rating in (GOOD, BAD):
            found[row] = each.rating
        elif scale.kind == STARS and each.score is not None and not BAD_STARS < each.score < GOOD_STARS:
            found[row] = GOOD if each.score >= GOOD_STARS else BAD
    return found


def scores_of(scale: Scale, settled: Mapping[int, Any]) -> tuple[dict[int, float], list[int]]:
    """{row: mean rating from 0 to 1} of undisputed results, and the rows that are tagged as cheats."""
    least, most = (1, len(scale.values)) if scale.kind == STARS else (0, 1)
    agreed = {row: each for row, each in settled.items() if not each.disputes}
    scores = {row: (each.score - least) / (most - least) for row, each in agreed.items() if each.score is not None}
    return scores, [row for row, each in agreed.items() if CHEATS & {tag.casefold() for tag in each.tags}]


def agreement_of(scale: Scale, said: Sequence[Any]) -> Agreement:
    """How far the annotators of a round agree beyond chance."""
    marks: dict[int, dict[str, str]] = defaultdict(dict)
    for each in said:
        if each.counts and not each.is_decision and each.rating is not None:
            marks[each.row][each.annotator] = each.rating
    return agreement(marks, order=scale.order)


def _labelled(session: Session, version: DatasetSummary, known: set[tuple[str, int]]) -> list[Mark]:
    """What annotators said of the data's own answers, the newest round's word first."""
    found: dict[int, str] = {}
    for each in labels.list_rounds(session, version.name):
        settled = label_results.results(each.scale, label_results.marks(session, each.id))
        found = marks_of(each.scale, settled) | found
    return [Mark(kind=OWN, row=row, rating=rating) for row, rating in sorted(found.items()) if (OWN, row) not in known]


def _marks(given: Sequence[Any]) -> list[Mark]:
    try:
        marks = msgspec.convert(given, list[Mark])
    except msgspec.ValidationError:
        raise RefusedInput("reward.bad_mark") from None
    if any(mark.kind not in KINDS or mark.rating not in (GOOD, BAD, CHEAT) for mark in marks):
        raise RefusedInput("reward.bad_mark")
    return marks


def _asking(given: Mapping[str, Any]) -> Asking:
    for name, value in given.items():
        recipe.refuse_unknown("key", name, tuple(Asking.__struct_fields__))
        low, high = BOUNDS.get(name, (0, 2**31))
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RefusedInput("reward.number", name=name, value=str(value)[:40], low=low, high=high)
    try:
        return msgspec.convert(dict(given), Asking)
    except msgspec.ValidationError:
        raise RefusedInput("reward.number", name="rows", value=str(given)[:40], low=1, high=1000) from None
