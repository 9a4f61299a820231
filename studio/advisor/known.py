"""What the registry and the workspace know for the advisor, besides what an inspection found."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from studio.advisor.data_facts import read_data_facts
from studio.db.datasets import DatasetSummary
from studio.db.judges import judges
from studio.db.measurements import experience
from studio.db.models import ModelSummary
from studio.db.speeds import list_speeds
from studio.evaluation.baseline import SUFFICES, newest, rules
from studio.paths import Workspace
from studio.rewards import kept


def known_of(session: Session, workspace: Workspace, base: ModelSummary, version: DatasetSummary) -> dict[str, Any]:
    """By the names of `studio.advisor.facts.Facts`."""
    return {
        "model_name": base.name,
        "was_tuned": _was_tuned(workspace, base),
        "speeds": list_speeds(session),
        "experience": experience(session, base.content_hash),
        "data": read_data_facts(workspace, version),
        "judges": judges(session),
        **_baseline(workspace, base, version),
        **_rewards(workspace, base, version),
    }


def _was_tuned(workspace: Workspace, base: ModelSummary) -> bool:
    """Whether the model is what a run here has left."""
    return any(Path(base.path).is_relative_to(place) for place in (workspace.exports, workspace.jobs))


def _rewards(workspace: Workspace, base: ModelSummary, version: DatasetSummary) -> dict[str, Any]:
    """What was tried on these rows, for a run that learns from a reward."""
    found = kept.tried(workspace, version.content_hash)
    if not found:
        return {}
    return {"reward": found[0].report.recipe, "rewards": found, "tried_rewards": kept.verdicts(found, base.name)}


def _baseline(workspace: Workspace, base: ModelSummary, version: DatasetSummary) -> dict[str, Any]:
    """How good the untouched model is with its best prompt, where it was asked."""
    asked = newest(workspace, base.content_hash, version.content_hash)
    if asked is None:
        return {}
    best, least = asked.report.best_prompt, rules()["cannot"]["rows"]
    share = best.share if best.answered >= least else None
    return {"baseline_correct": share, "baseline_suffices": asked.report.verdict == SUFFICES}
