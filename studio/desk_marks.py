"""The desk's verbs that put annotators' marks to use elsewhere: in the quality check, and among duplicates."""

from pathlib import Path
from typing import Any

from studio.db import label_results
from studio.desk_data import DataDesk
from studio.errors import RefusedInput
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.labelling import taught
from studio.workshop.recipe import Recipe, RecipeStep

BY_MARKS = "highest_marked"


class MarksDesk(DataDesk):
    """What `Desk` can do with marks besides making a version of them (see `studio.labelling`)."""

    def teach_quality(self, name: str) -> int | None:
        """Queue the training of a quality classifier on the rows marked keep or drop; None if it is known already.

        Raises:
            RefusedInput: too few marks.
        """
        from studio.workshop.checks.quality import LEAST_MARKS

        version = self._version(name)
        with self._writer.begin() as session:
            marks = label_results.keep_marks(session, version.name)
        kept = sum(marks.values())
        if min(kept, len(marks) - kept) < LEAST_MARKS:
            raise RefusedInput("data.quality.too_few_marks", kept=kept, dropped=len(marks) - kept, least=LEAST_MARKS)
        known = {str(row): is_kept for row, is_kept in sorted(marks.items())}
        place = reports.place(self.workspace, "quality", [Path(version.path)], [version.name, known])
        values = {"version": version.path, "number": version.version, "marks": known}
        return self._report("teach", version, values, place)

    def with_ratings(self, recipe: Recipe, name: str) -> Recipe:
        """The recipe with the annotators' ratings where a step chooses by them; any other as it is.

        Raises:
            RefusedInput: it chooses by ratings, and nobody has rated a row.
        """
        if not any(step.options.get("keep") == BY_MARKS for step in recipe.steps):
            return recipe
        with self._writer.begin() as session:
            ratings = label_results.ratings(session, name.partition("@")[0])
        if not ratings:
            raise RefusedInput("data.marks.nobody_rated", name=name)
        file = str(taught.keep_ratings(self.workspace, ratings))
        return Recipe(name=recipe.name, steps=tuple(_with_ratings(step, file) for step in recipe.steps))

    def clean_dataset(self, name: str, recipe: str | dict[str, Any] | None = None) -> int:
        return super().clean_dataset(name, self._rated(recipe, name))

    def look_dataset(
        self, name: str, recipe: str | dict[str, Any] | None = None, *, model: str | None = None
    ) -> int | None:
        return super().look_dataset(name, self._rated(recipe, name), model=model)

    def _rated(self, recipe: str | dict[str, Any] | None, name: str) -> str | dict[str, Any] | None:
        found = recipes.find(self.workspace, recipe)
        rated = self.with_ratings(found, name)
        return recipe if rated is found else recipes.to_document(rated)


def _with_ratings(step: RecipeStep, file: str) -> RecipeStep:
    if step.options.get("keep") != BY_MARKS:
        return step
    return RecipeStep(step=step.step, enabled=step.enabled, options=step.options | {"ratings": file})
