"""Answers scored with a whole reward: every rule's score, and their weighted sum.

    score(recipe, ["42"], [Row(reference="42")])   ->  Scored(totals=[1.3], values={"exact_match": [Score(1.0)], ...})

total = sum of weight x value over the rules, a penalty's value being 0 or less. An answer on which a rule has no score
has no total (`missing: row`), or the sum of the others (`missing: rule`); it is counted either way, and is never 0 for
that reason.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from studio.graders import declared as graders
from studio.graders.format_tags import after, between
from studio.graders.score import Row, Score, missing
from studio.rewards.recipe import AFTER_THINK, ANSWER, LAST_LINE, ROW, WHOLE, Recipe, Rule

Given = Mapping[str, Sequence[Score]]
"""Rule's key -> scores that a trainer has from a model, within the grader's range."""


@dataclass(frozen=True)
class Scored:
    """In the order of the answers."""

    totals: list[float | None]
    values: dict[str, list[Score]]
    """Rule's key -> its scores as they enter the sum, before weights: a penalty's are 0 or less."""

    def missing(self) -> dict[str, dict[str, int]]:
        """{rule's key: {why: answers without a score}}, of the rules that lack any."""
        counts = {
            key: Counter(each.why for each in scores if each.value is None) for key, scores in self.values.items()
        }
        return {key: dict(count) for key, count in counts.items() if count}


def score(recipe: Recipe, answers: Sequence[str], rows: Sequence[Row], *, given: Given | None = None) -> Scored:
    """
    Args:
        given: scores of the rules that are not run here; without them theirs are missing.
    """
    values = {}
    for key, rule in zip(recipe.keys, recipe.rules, strict=True):
        values[key] = [_as_penalty(each) if rule.penalty else each for each in _scores(rule, answers, rows, key, given)]
    weights = dict(zip(recipe.keys, recipe.weights, strict=True))
    totals = [_total(recipe, weights, {key: values[key][place] for key in values}) for place in range(len(answers))]
    return Scored(totals, values)


def part_of(answer: str, part: str) -> str:
    """What a rule looks at; nothing where the answer lacks it."""
    if part == ANSWER:
        return between(answer, "answer") or ""
    if part == AFTER_THINK:
        return after(answer, "think")
    if part == LAST_LINE:
        return next((line.strip() for line in reversed(answer.splitlines()) if line.strip()), "")
    return answer


def _scores(rule: Rule, answers: Sequence[str], rows: Sequence[Row], key: str, given: Given | None) -> Sequence[Score]:
    if rule.runs_here:
        looked_at = [part_of(answer, rule.part) for answer in answers]
        beside = rows if rule.part == WHOLE else [_with_part(row, rule.part) for row in rows]
        return graders.grade(rule.name, looked_at, beside, graders.options(rule.name, rule.options))
    known = (given or {}).get(key)
    return known if known is not None else [missing("elsewhere")] * len(answers)


def _with_part(row: Row, part: str) -> Row:
    """The row with the same part of its reference, where it has that part: an answer is compared with its like."""
    inner = part_of(row.reference or "", part)
    return msgspec.structs.replace(row, reference=inner) if inner else row


def _as_penalty(each: Score) -> Score:
    return each if each.value is None else Score(-each.value or 0.0, each.why, each.detail)


def _total(recipe: Recipe, weights: Mapping[str, float], values: Mapping[str, Score]) -> float | None:
    there = {key: each.value for key, each in values.items() if each.value is not None}
    if not there or (recipe.missing == ROW and len(there) < len(values)):
        return None
    return math.fsum(weights[key] * value for key, value in there.items())
