"""Every grader there is: what it is called, its range, what it needs of a row, its options; and grading with it.

    declared("length").range                             ->  (0.0, 1.0)
    options("length", {"max": 60})                       ->  Options(min=1, max=60, ...)
    options("length", {"mx": 60})                        ->  RefusedInput: did you mean max?
    grade("length", ["Yes."], [Row()], options(...))     ->  [Score(1.0)]

A grader is a module with `Options` and `grade(answers, rows, options) -> list[Score]`, a line in `GRADERS` and
`templates/rewards/<name>.yaml` with its words. Those that `runs: trainer` have `normalised(raw, options)` instead.
"""

import importlib
import logging
import math
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import yaml

from studio.errors import RefusedInput, UnknownName
from studio.graders.score import Row, Score, missing
from studio.paths import TEMPLATES
from studio.workshop import recipe as recipes
from studio.workshop.problems import closest
from studio.workshop.recipe import OptionInfo

GRADERS = {
    "exact_match": "studio.graders.exact_match",
    "numeric_match": "studio.graders.numeric_match",
    "label": "studio.graders.label",
    "json": "studio.graders.json_answer",
    "sql": "studio.graders.sql_answer",
    "similarity": "studio.graders.similarity",
    "contains": "studio.graders.contains",
    "pattern": "studio.graders.pattern",
    "format_tags": "studio.graders.format_tags",
    "length": "studio.graders.length",
    "language": "studio.graders.language",
    "python_checks": "studio.graders.python_checks",
    "length_penalty": "studio.graders.length_penalty",
    "repetition": "studio.graders.repetition",
    "reward_model": "studio.graders.reward_model",
    "judge_model": "studio.graders.judge_model",
}
HERE, TRAINER = "here", "trainer"
NEEDS = ("reference", "source", "question")
MOST_CHARACTERS = 200_000
"""Of an answer; no grader reads on."""
_log = logging.getLogger(__name__)


class OptionWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words of an option by language."""

    label: dict[str, str]
    help: dict[str, str] = {}
    choices: dict[str, dict[str, str]] = {}


class Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """templates/rewards/<name>.yaml."""

    title: dict[str, str]
    help: dict[str, str]
    dimension: str
    """What it judges unless a rule says otherwise: correctness, format, style or cheating."""
    range: tuple[float, float]
    """Least and greatest score; a penalty's greatest is 0."""
    normalisation: str
    """How it comes into the range: none (it lies there by itself), cut, scale (marks to 0..1) or standardise."""
    needs: tuple[str, ...] = ()
    """Of a row: reference, source, question. Without them the score is missing."""
    runs: str = HERE
    """here: by a pure function; trainer: a model is asked, inside a job."""
    options: dict[str, OptionWords] = {}


@cache
def declared(name: str) -> Declared:
    """
    Raises:
        UnknownName: no such grader, with the closest one that there is.
    """
    refuse_unknown("grader", name, GRADERS)
    text = (TEMPLATES / "rewards" / f"{name}.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), Declared)


def options(name: str, chosen: Mapping[str, Any]) -> Any:
    """The grader's complete `Options`, checked.

    Raises:
        RefusedInput: an option that it does not have, or a value that cannot be.
    """
    made = _converted(name, chosen)
    if hasattr(module(name), "check"):
        module(name).check(made)
    return made


def options_of(name: str) -> list[OptionInfo]:
    """What can be set of a grader, as a form needs it."""
    return recipes.options_of(name, GRADERS)


def needs(name: str, chosen: Any) -> tuple[str, ...]:
    """What it needs of a row with these `Options`."""
    found = module(name)
    if hasattr(found, "needs"):
        return found.needs(chosen)
    is_form_only = getattr(chosen, "match", None) == "form"
    return () if is_form_only else declared(name).needs


def module(name: str) -> types.ModuleType:
    refuse_unknown("grader", name, GRADERS)
    return importlib.import_module(GRADERS[name])


def grade(name: str, answers: Sequence[str], rows: Sequence[Row], chosen: Any) -> list[Score]:
    """A score for each answer, in order. Where the grader fails on a row, that score is missing and the rest stands.

    Raises:
        RefusedInput: this grader is run by a trainer.
    """
    if declared(name).runs != HERE:
        raise RefusedInput("reward.runs_elsewhere", name=name)
    bounded = [answer[:MOST_CHARACTERS] for answer in answers]
    low, high = declared(name).range
    return [_within(score, low, high) for score in _graded(module(name), bounded, list(rows), chosen)]


def refuse_unknown(kind: str, name: Any, known: Any, **values: Any) -> None:
    """
    Raises:
        UnknownName: `name` is not among `known`.
    """
    if name not in known:
        listed = list(known)
        hint = closest(str(name), listed) or (listed[0] if listed else "–")
        raise UnknownName(
            f"reward.unknown_{kind}", name=str(name)[:40], hint=hint, known=", ".join(listed) or "–", **values
        )


def _converted(name: str, chosen: Mapping[str, Any]) -> Any:
    kind = module(name).Options
    for each in chosen:
        refuse_unknown("option", each, kind.__struct_fields__, grader=name)
    try:
        return msgspec.convert(dict(chosen), kind)
    except msgspec.ValidationError as error:
        raise RefusedInput("reward.bad_option", grader=name, detail=str(error)) from None


def _graded(grader: types.ModuleType, answers: list[str], rows: list[Row], chosen: Any) -> list[Score]:
    """A fault in a grader must not end a run that took hours: it costs the rows that it happens on."""
    try:
        return grader.grade(answers, rows, chosen)
    except Exception:
        if len(answers) == 1:
            _log.exception("%s failed on row %s", grader.__name__, rows[0].number)
            return [missing("fault")]
        middle = len(answers) // 2
        parts = (slice(None, middle), slice(middle, None))
        return [score for part in parts for score in _graded(grader, answers[part], rows[part], chosen)]


def _within(score: Score, low: float, high: float) -> Score:
    """The score itself; one beyond the declared range, or none at all, is a fault of the grader and missing."""
    if score.value is None or (math.isfinite(score.value) and low <= score.value <= high):
        return score
    return missing("fault")
