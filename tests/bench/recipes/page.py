"""docs/recipes.md from the results: figures are drawn here into `page.md`, and what to make of them is written
by hand in `reading.md`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.recipes.figures import Cell, cells, compared, complete_recipes, mean_figures, mean_ranks
from tests.bench.recipes.plan import SEEDS, Plan
from tests.bench.recipes.results import UNTOUCHED, Combination, Result, found
from tests.bench.recipes.settings import DEFAULT, RECIPES

FRAME, READING = (Path(__file__).with_name(name) for name in ("page.md", "reading.md"))
SHOWN = ("learning_rate", "num_train_epochs", "lora_target_modules", "lora_r")
COMMAND = "python -m tests.bench.recipes"

Table = Mapping[tuple[str, str], Cell]


def page(plan: Plan, done: Iterable[Result]) -> str:
    """The page as Markdown; of the results those count that are of today's rows, recipes and defaults."""
    known = found(plan.combinations(RECIPES, SEEDS), done)
    table, names = cells(known), list(plan.tasks)
    there = {recipe for recipe, _ in table}
    recipes = [recipe for recipe in RECIPES if recipe in there]
    parts = {
        "reading": READING.read_text("utf-8").strip(),
        "tasks": _task_table(plan, table),
        "recipes": _recipe_table(plan, recipes),
        "scores": _figure_table(table, recipes, names, by="score"),
        "losses": _figure_table(table, recipes, names, by="loss"),
        "comparison": _comparison_table(table, recipes, names),
        "runs": _runs(known),
    }
    return FRAME.read_text("utf-8").format(command=COMMAND, **parts)


def _task_table(plan: Plan, table: Table) -> str:
    head = ["task", "kind", "rows: train, held out", "score", "untouched model: score, loss", "filled in"]
    lines = []
    for task in plan.tasks.values():
        untouched = table.get((UNTOUCHED, task.name))
        before = f"{untouched.mean_score:.2f}, {untouched.mean_loss:.2f}" if untouched else "–"
        filled = ", ".join(_setting(name, plan.defaults[task.name][name]) for name in SHOWN)
        rows = f"{len(task.train)}, {len(task.held_out)}"
        lines.append([task.name, task.kind, rows, task.measure, before, filled])
    return _markdown(head, lines)


def _recipe_table(plan: Plan, recipes: list[str]) -> str:
    """A line a recipe; where tasks differ, each with its own values."""
    lines = []
    for recipe in recipes:
        by_task = {task: _settings(plan.differs(task, recipe)) for task in plan.tasks}
        alike = set(by_task.values())
        words = alike.pop() if len(alike) == 1 else "; ".join(f"{task}: {said}" for task, said in by_task.items())
        lines.append([recipe, words])
    return _markdown(["recipe", "other than filled in"], lines)


def _figure_table(table: Table, recipes: list[str], tasks: list[str], *, by: str) -> str:
    whole = [recipe for recipe in complete_recipes(table, tasks) if recipe != UNTOUCHED]
    placed, means = mean_ranks(table, whole, tasks, by=by), mean_figures(table, whole, tasks, by=by)
    ordered = [*means, *(recipe for recipe in recipes if recipe not in placed)]
    lines = [
        [recipe, *([f"{means[recipe]:.2f}", f"{placed[recipe]:.1f}"] if recipe in placed else ["–", "–"])]
        + [_figure(table.get((recipe, task)), by) for task in tasks]
        for recipe in ordered
    ]
    return _markdown(["recipe", "mean", "rank", *tasks], lines)


def _comparison_table(table: Table, recipes: list[str], tasks: list[str]) -> str:
    lines = []
    for recipe in recipes:
        if recipe == DEFAULT:
            continue
        against = [compared(table.get((recipe, task)), table.get((DEFAULT, task))) for task in tasks]
        lines.append([recipe, *(f"{each.difference:+.2f} {each.word}" if each.seeds else "–" for each in against)])
    return _markdown(["recipe", *tasks], lines)


def _figure(cell: Cell | None, by: str) -> str:
    if cell is None:
        return "–"
    mean, spread = (cell.mean_score, cell.score_spread) if by == "score" else (cell.mean_loss, cell.loss_spread)
    return f"{mean:.2f} (1)" if spread is None else f"{mean:.2f} ± {spread:.2f} ({len(cell.scores)})"


def _runs(known: Mapping[Combination, Result]) -> str:
    done = {result.identity: result for result in known.values() if result.recipe != UNTOUCHED}
    stacks = sorted(
        {", ".join(f"{name} {number}" for name, number in each.versions.items()) for each in known.values()}
    )
    return f"{len(done)} runs, with {'; '.join(stacks) or 'no library yet'}."


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(_setting(name, value) for name, value in values.items()) or "nothing"


def _setting(name: str, value: Any) -> str:
    if isinstance(value, list):
        value = "+".join(value)
    return f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(map(_line, [head, ["---"] * len(head), *lines]))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
