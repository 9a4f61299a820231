"""A reward tried before a GPU is used for it: is good told from bad, can it be cheated, does the model ever score?

    trial(recipe, rows, answers_to_try(rows, sampled))  ->  TrialReport(verdict="green", reasons=[], ...)

Pure: rows and answers come in, a report goes out. A reason that stops says why a run with this reward should not start
yet; the others are advice.
"""

from collections.abc import Sequence

from studio.graders.score import Row
from studio.rewards import measuring
from studio.rewards.answers_to_try import Tried
from studio.rewards.measuring import Facts
from studio.rewards.reasons import reasons
from studio.rewards.recipe import Recipe, digest, to_document
from studio.rewards.report import Mark, TrialReport
from studio.rewards.scoring import Given, score


def trial(
    recipe: Recipe,
    rows: Sequence[Row],
    tried: Sequence[Tried],
    *,
    marks: Sequence[Mark] = (),
    given: Given | None = None,
) -> TrialReport:
    """
    Args:
        rows: each with a number of its own.
        tried: see `answers_to_try`.
        marks: a person's, of any of `tried`.
        given: scores of rules that ask a model, in the order of `tried`; a rule without them is left out of the sum.
    """
    by_number = {row.number: row for row in rows}
    named = list(zip(recipe.keys, recipe.rules, strict=True))
    # All rules of such a grader go: without one of them the others would bear other keys.
    lacking = {rule.name for key, rule in named if not rule.runs_here and key not in (given or {})}
    left_out = tuple(key for key, rule in named if rule.name in lacking)
    whole = measuring.without(recipe, left_out)
    scored = score(whole, [each.text for each in tried], [by_number[each.row] for each in tried], given=given)
    facts = Facts(whole, rows, tried, scored, left_out)
    threshold = measuring.threshold(facts)
    agreed = measuring.agreed(facts, marks)
    measured = {
        "wins": measuring.wins(facts),
        "trivial": measuring.trivial(facts),
        "scoring": measuring.scoring(facts, threshold),
        "agreement": agreed,
        "rules": measuring.rules(facts),
    }
    best, worst = measuring.shown(facts, by_number)
    return TrialReport(
        recipe=to_document(recipe),
        hash=digest(recipe),
        rows=len(rows),
        range=whole.range,
        kinds=measuring.kinds(facts),
        best=best,
        worst=worst,
        threshold=threshold,
        reasons=reasons(facts, measured),
        **measured,
    )
