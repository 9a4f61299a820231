"""What the workshop already found out about a data set version: read from its kept reports, never computed here.

A figure is None where nobody has looked yet; the preflight then says so, with a button that looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.workshop import reports
from studio.workshop.recipe import CHECKS

LEAKS = ("exact", "near", "same_prompt")
"""Kinds of leakage that make a held-out score too good; `suspicious` only wants a look by eye."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    was_looked_at: bool = False
    """A cleaning was tried on this version."""
    was_checked: bool = False
    duplicates: int | None = None
    """Rows that it would take out because another one says the same."""
    unclean: int | None = None
    """Rows that its other steps would change or take out: noise, formats, personal data."""
    leaks: int | None = None
    """Held-out rows that stand in training too; None also where nothing is held out."""
    is_split: bool = False
    """The version has validation rows of its own."""
    categories: int = 0
    """Different categories among its rows."""
    has_schema: bool = False
    """The answers were checked against a schema when this version was made, or when it was looked at."""


def read_data_facts(workspace: Workspace, version: DatasetSummary) -> DataFacts:
    """What is known of a version; nothing but its manifest where no report stands, or the folder is gone."""
    manifest, folder = version.manifest, Path(version.path)
    known: dict[str, Any] = {
        "is_split": bool(manifest.get("splits", {}).get("validation")),
        "categories": manifest.get("categories", 0),
        "has_schema": any(
            step["operation"] == "task_schema" and _is_schema(step["parameters"]) for step in manifest.get("steps", ())
        ),
    }
    try:
        return DataFacts(**(known | _from_look(workspace, folder) | _from_checks(workspace, folder)))
    except (OSError, RefusedInput):
        return DataFacts(**known)


def _from_look(workspace: Workspace, folder: Path) -> dict[str, Any]:
    # The newest look, whatever its recipe: reading the recommended one would bring the steps' libraries along.
    found = reports.find_last_look(workspace, folder)
    if found is None:
        return {}
    steps = {step.step: step for step in reports.read_look(found).steps}
    if "duplicates" not in steps:
        return {}
    other = sum(step.removed + step.changed for name, step in steps.items() if name != "duplicates")
    known = {"was_looked_at": True, "duplicates": steps["duplicates"].removed, "unclean": other}
    has_schema = "task_schema" in steps and _is_schema(steps["task_schema"].options)
    return known | ({"has_schema": True} if has_schema else {})


def _from_checks(workspace: Workspace, folder: Path) -> dict[str, Any]:
    found = reports.find_check(workspace, folder, list(CHECKS), {})
    if found is None:
        return {}
    leakage = reports.read_checks(found).get("leakage", {})
    pairs = leakage.get("pairings", ())
    leaks = sum(pair["found"].get(kind, 0) for pair in pairs for kind in LEAKS)
    return {"was_checked": True, "leaks": leaks if leakage.get("is_split") else None}


def _is_schema(options: Mapping[str, Any]) -> bool:
    return options.get("kind", "none") != "none"
