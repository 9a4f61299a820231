"""What is measured of a reward on the answers that it is tried on. Pure functions of `Facts`."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import msgspec

from studio.graders.score import Row, Score
from studio.rewards.answers_to_try import KINDS, OWN, SAMPLED, TRIVIAL, WRONG, Tried
from studio.rewards.recipe import Recipe
from studio.rewards.report import BINS, KindFigures, Mark, RuleFigures, Shown
from studio.rewards.scoring import Scored
from studio.workshop.labelling.agreement import Agreement, agreement
from studio.workshop.labelling.marks import BAD, GOOD

SHOWN = 5
"""Best and worst answers that are shown."""
EPSILON = 1e-9


class Facts(msgspec.Struct, frozen=True):
    """What the reasons are drawn from."""

    recipe: Recipe
    rows: Sequence[Row]
    tried: Sequence[Tried]
    scored: Scored
    left_out: tuple[str, ...]
    """Rules that ask a model and whose scores are not there."""

    def totals(self, *kinds: str) -> dict[int, list[float]]:
        """{row: its rewards} of answers of these kinds; a row without any is not there."""
        found: dict[int, list[float]] = defaultdict(list)
        for each, total in zip(self.tried, self.scored.totals, strict=True):
            if each.kind in kinds and total is not None:
                found[each.row].append(total)
        return dict(found)


def without(recipe: Recipe, left_out: Sequence[str]) -> Recipe:
    kept = tuple(rule for key, rule in zip(recipe.keys, recipe.rules, strict=True) if key not in left_out)
    return msgspec.structs.replace(recipe, rules=kept)


def kinds(facts: Facts) -> list[KindFigures]:
    low, high = facts.recipe.range
    found = []
    for kind in KINDS:
        totals = [it for each, it in zip(facts.tried, facts.scored.totals, strict=True) if each.kind == kind]
        there = [total for total in totals if total is not None]
        counts = Counter(min(BINS - 1, int(BINS * (total - low) / (high - low or 1))) for total in there)
        if totals:
            found.append(
                KindFigures(
                    kind=kind,
                    answers=len(totals),
                    missing=len(totals) - len(there),
                    mean=fmean(there) if there else None,
                    counts=tuple(counts[place] for place in range(BINS)),
                )
            )
    return found


def rules(facts: Facts) -> list[RuleFigures]:
    lacking = facts.scored.missing()
    return [
        RuleFigures(
            key=key,
            name=rule.name,
            judges=rule.judges,
            weight=weight,
            range=rule.range,
            missing=lacking.get(key, {}),
            **_spread(facts, facts.scored.values[key]),
        )
        for key, rule, weight in zip(facts.recipe.keys, facts.recipe.rules, facts.recipe.weights, strict=True)
    ]


def _spread(facts: Facts, scores: Sequence[Score]) -> dict[str, Any]:
    by_kind: dict[str, list[float]] = defaultdict(list)
    for each, found in zip(facts.tried, scores, strict=True):
        if found.value is not None:
            by_kind[each.kind].append(found.value)
    values = [value for each in by_kind.values() for value in each]
    return {
        "means": {kind: fmean(by_kind[kind]) for kind in KINDS if by_kind[kind]},
        "fires": fmean(abs(value) > EPSILON for value in values) if values else None,
        "is_constant": bool(values) and max(values) - min(values) <= EPSILON,
    }


def shown(facts: Facts, rows: Mapping[int, Row]) -> tuple[list[Shown], list[Shown]]:
    """Best and worst answers among the data's own, wrong and sampled ones; every text once.

    Of equal ones first what tells most: the model's answers among the best, the data's own among the worst.
    """
    first: dict[tuple[int, str], int] = {}
    for place, each in enumerate(facts.tried):
        if each.kind not in TRIVIAL and facts.scored.totals[place] is not None:
            first.setdefault((each.row, each.text), place)
    places = list(first.values())
    best = _sorted(facts, places, sign=-1, order=(SAMPLED, WRONG, OWN))[:SHOWN]
    worst = _sorted(facts, [place for place in places if place not in best], sign=1, order=(OWN, SAMPLED, WRONG))
    return [_shown(facts, rows, place) for place in best], [_shown(facts, rows, place) for place in worst[:SHOWN]]


def _sorted(facts: Facts, places: Sequence[int], *, sign: int, order: tuple[str, ...]) -> list[int]:
    return sorted(places, key=lambda at: (sign * facts.scored.totals[at], order.index(facts.tried[at].kind)))


def _shown(facts: Facts, rows: Mapping[int, Row], place: int) -> Shown:
    each = facts.tried[place]
    return Shown(
        kind=each.kind,
        row=each.row,
        place=each.place,
        question=rows[each.row].question,
        answer=each.text,
        total=facts.scored.totals[place],
        values={key: scores[place] for key, scores in facts.scored.values.items()},
    )


def wins(facts: Facts) -> float | None:
    own, wrong = facts.totals(OWN), facts.totals(WRONG)
    both = own.keys() & wrong.keys()
    return fmean(own[row][0] > wrong[row][0] + EPSILON for row in both) if both else None


def trivial(facts: Facts) -> dict[str, float]:
    """Beside the data's own answer, or where it has none, the best sampled one."""
    good = {row: max(totals) for row, totals in (facts.totals(OWN) or facts.totals(SAMPLED)).items()}
    found = {}
    for kind in TRIVIAL:
        cheap = facts.totals(kind)
        both = good.keys() & cheap.keys()
        if both:
            found[kind] = fmean(cheap[row][0] >= good[row] - EPSILON for row in both)
    return found


def threshold(facts: Facts) -> float | None:
    """Half-way from wrong answers to right ones; where the data has none, half-way up the range."""
    own, wrong = ([total for each in facts.totals(kind).values() for total in each] for kind in (OWN, WRONG))
    if own and wrong:
        return (fmean(own) + fmean(wrong)) / 2
    return sum(facts.recipe.range) / 2 if facts.recipe.rules else None


def scoring(facts: Facts, threshold: float | None) -> float | None:
    sampled = facts.totals(SAMPLED)
    if not sampled or threshold is None:
        return None
    return fmean(max(totals) >= threshold - EPSILON for totals in sampled.values())


def agreed(facts: Facts, marks: Sequence[Mark]) -> Agreement | None:
    """Cohen's kappa of person and reward, the reward calling as many answers good as the person does."""
    totals = {
        (each.kind, each.row, each.place): total
        for each, total in zip(facts.tried, facts.scored.totals, strict=True)
        if total is not None
    }
    said = {(each.kind, each.row, each.place): GOOD if each.rating == GOOD else BAD for each in marks}
    both = sorted(said.keys() & totals.keys())
    if not both:
        return None
    cut = _cut([totals[each] for each in both], sum(said[each] == GOOD for each in both))
    rated = {
        number: {"person": said[each], "reward": GOOD if totals[each] >= cut else BAD}
        for number, each in enumerate(both)
    }
    return agreement(rated)


def _cut(totals: Sequence[float], count: int) -> float:
    """The least reward that is called good, so that as near to `count` of them are as equal ones allow."""
    candidates = [*sorted(set(totals)), float("inf")]
    return min(candidates, key=lambda cut: abs(sum(total >= cut for total in totals) - count))
