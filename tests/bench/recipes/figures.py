"""From single results to what can be said: means, spreads, ranks, and whether a recipe beats the default.

Cell({1: 0.8, 2: 0.9}, {1: 0.7, 2: 0.6})   .mean_score -> 0.85   .score_spread -> 0.07
ranks({"a": 0.9, "b": 0.8, "c": 0.9})      -> {"a": 1.5, "c": 1.5, "b": 3.0}
compared(cell, default)                    -> Comparison(seeds=2, difference=0.05, word="alike")
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.bench.recipes.results import Combination, Result

BETTER, WORSE, ALIKE, ONE_SEED, NONE = "better", "worse", "alike", "one seed", "–"


@dataclass(frozen=True)
class Cell:
    """What one recipe did on one task, by seed."""

    scores: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)

    @property
    def mean_score(self) -> float:
        return statistics.fmean(self.scores.values())

    @property
    def mean_loss(self) -> float:
        return statistics.fmean(self.losses.values())

    @property
    def score_spread(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return _spread(self.scores)

    @property
    def loss_spread(self) -> float | None:
        return _spread(self.losses)


@dataclass(frozen=True)
class Comparison:
    seeds: int
    """So many seeds both were run with; only those count."""
    difference: float
    """Mean score minus the default's."""
    word: str
    """better or worse: by more than the spread of either over the seeds."""


def cells(known: Mapping[Combination, Result]) -> dict[tuple[str, str], Cell]:
    """(recipe, task) -> its results."""
    gathered: dict[tuple[str, str], Cell] = defaultdict(Cell)
    for each, result in known.items():
        cell = gathered[each.recipe, each.task]
        cell.scores[each.seed], cell.losses[each.seed] = result.score, result.loss
    return dict(gathered)


def complete_recipes(table: Mapping[tuple[str, str], Cell], tasks: Iterable[str]) -> list[str]:
    """Recipes that were run on every task; only they can be ranked."""
    tasks = list(tasks)
    recipes = dict.fromkeys(recipe for recipe, _ in table)
    return [recipe for recipe in recipes if all((recipe, task) in table for task in tasks)]


def ranks(figures: Mapping[str, float]) -> dict[str, float]:
    """1 for the highest; equal figures share the mean of their places."""
    ordered = sorted(figures, key=lambda name: -figures[name])
    places: dict[float, list[int]] = defaultdict(list)
    for place, name in enumerate(ordered, 1):
        places[figures[name]].append(place)
    return {name: statistics.fmean(places[figures[name]]) for name in ordered}


def mean_ranks(
    table: Mapping[tuple[str, str], Cell], recipes: Iterable[str], tasks: Iterable[str], *, by: str
) -> dict[str, float]:
    """The mean over the tasks of each recipe's rank, best first; `by` is score or loss."""
    recipes, by_task = list(recipes), []
    for task in tasks:
        of_task = {recipe: table[recipe, task] for recipe in recipes}
        by_task.append(
            ranks({name: cell.mean_score if by == "score" else -cell.mean_loss for name, cell in of_task.items()})
        )
    means = {recipe: statistics.fmean(places[recipe] for places in by_task) for recipe in recipes}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def mean_figures(
    table: Mapping[tuple[str, str], Cell], recipes: Iterable[str], tasks: Iterable[str], *, by: str
) -> dict[str, float]:
    """The mean over the tasks of each recipe's mean score or loss, best first."""
    tasks = list(tasks)
    means = {
        recipe: statistics.fmean(
            table[recipe, task].mean_score if by == "score" else table[recipe, task].mean_loss for task in tasks
        )
        for recipe in recipes
    }
    return dict(sorted(means.items(), key=lambda item: -item[1] if by == "score" else item[1]))


def compared(cell: Cell | None, default: Cell | None) -> Comparison:
    shared = sorted(set(cell.scores) & set(default.scores)) if cell and default else []
    if not shared:
        return Comparison(0, 0.0, NONE)
    ours, theirs = ({seed: each.scores[seed] for seed in shared} for each in (cell, default))
    difference = statistics.fmean(ours.values()) - statistics.fmean(theirs.values())
    if len(shared) == 1:
        return Comparison(1, difference, ONE_SEED)
    if abs(difference) <= max(_spread(ours), _spread(theirs)):
        return Comparison(len(shared), difference, ALIKE)
    return Comparison(len(shared), difference, BETTER if difference > 0 else WORSE)


def _spread(figures: Mapping[int, float]) -> float | None:
    return statistics.stdev(figures.values()) if len(figures) > 1 else None
