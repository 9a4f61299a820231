"""All combinations of task, recipe and seed, the values that the form has for each, and what to measure next."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.advisor.facts import Facts
from tests.bench.recipes import results, settings
from tests.bench.recipes.tasks import Task

SEEDS = (1, 2, 3)

Measure = Callable[[Task, dict[str, Any] | None], tuple[float, float, int, float]]
"""Task and a run's values (None: the untouched model) -> held-out score and loss, steps, seconds of training."""


class Plan:
    def __init__(self, tasks: Iterable[Task], facts: Callable[[Task], Facts]) -> None:
        """`facts` says what the form knows of a task."""
        self.tasks = {task.name: task for task in tasks}
        self._facts = {name: facts(task) for name, task in self.tasks.items()}

    def combinations(self, recipes: Iterable[str], seeds: Iterable[int]) -> list[results.Combination]:
        """The untouched model on every task, then seed by seed recipe by recipe, the most important ones first."""
        pairs = [(recipe, seed) for seed in seeds for recipe in recipes]
        return [
            self._combination(task, recipe, seed)
            for recipe, seed in [(results.UNTOUCHED, 0), *pairs]
            for task in self.tasks
        ]

    def values(self, task: str, recipe: str, seed: int = 1) -> dict[str, Any]:
        return settings.resolved(recipe, self._facts[task], seed=seed)

    @cached_property
    def defaults(self) -> dict[str, Mapping[str, Any]]:
        """What the form fills in, by task."""
        return {task: self.values(task, settings.DEFAULT) for task in self.tasks}

    def differs(self, task: str, recipe: str) -> dict[str, Any]:
        """What of a recipe is not as the form would fill it in for that task."""
        return settings.differing(self.values(task, recipe), self.defaults[task])

    def measured(self, each: results.Combination, measure: Measure, versions: Mapping[str, str]) -> results.Result:
        is_untouched = each.recipe == results.UNTOUCHED
        values = None if is_untouched else self.values(each.task, each.recipe, each.seed)
        score, loss, steps, seconds = measure(self.tasks[each.task], values)
        return results.Result(
            task=each.task,
            rows_hash=each.rows_hash,
            recipe=each.recipe,
            key=each.key,
            seed=each.seed,
            differs={} if is_untouched else self.differs(each.task, each.recipe),
            score=round(score, 4),
            loss=round(loss, 4),
            steps=steps,
            seconds=round(seconds, 1),
            versions=dict(versions),
        )

    def _combination(self, task: str, recipe: str, seed: int) -> results.Combination:
        key = recipe if recipe == results.UNTOUCHED else settings.key(self.values(task, recipe, seed))
        return results.Combination(task, self.tasks[task].rows_hash, recipe, key, seed)


def work(
    plan: Plan,
    wanted: Iterable[results.Combination],
    measure: Measure,
    *,
    path: Path,
    versions: Mapping[str, str],
    until: float,
    now: Callable[[], float] = time.monotonic,
) -> Iterable[results.Result]:
    """Measure what is missing in the file and append it there; begin nothing after `until`."""
    for each in results.missing(wanted, results.read(path)):
        if now() >= until:
            return
        result = plan.measured(each, measure, versions)
        results.append(result, path)
        yield result
