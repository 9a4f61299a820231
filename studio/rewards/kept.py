"""Trials that were made, and the base model's sampled answers, kept by what they are of.

    <workspace>/cache/reports/samples-<model>-<rows>-<how asked>/report.json     answers of the base model
    <workspace>/cache/reports/asked-<rows>/report.json                           what models said that rewards asked
    <workspace>/cache/reports/reward-<rows>-<reward and the rest>/report.json    what trying a reward came to

Samples do not depend on the reward, so another one is tried on the same answers without the model.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.graders.score import Score
from studio.paths import Workspace
from studio.protocol import write_struct
from studio.rewards.report import Reason, TrialReport
from studio.workshop.reports import REPORT

MOST_READ = 50
"""Trials on the same rows that are looked at, the newest ones."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are tried, and how the base model is asked."""

    rows: int = 100
    samples: int = 4
    """Answers of the model to each question."""
    seconds: float = 180.0
    """Writing answers takes no longer; then fewer questions are asked."""
    temperature: float = 1.0
    seed: int = 42


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    seconds: float
    answers: dict[int, list[str]]
    """Row's number -> what the model said."""


class AskedScores(msgspec.Struct, frozen=True, kw_only=True):
    scores: dict[str, Score]
    """By the content that was asked about; see `trainers.rewards.asked_models`."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and what it is of."""

    dataset: str
    version: int
    model: str | None
    is_proposed: bool
    """The reward was proposed from the data."""
    sampled: int
    """Questions that the model was asked."""
    verdict: str
    report: TrialReport
    created_at: str


def samples_place(workspace: Workspace, model_hash: str, content_hash: str, asking: Asking) -> Path:
    return workspace.reports / f"samples-{model_hash[:16]}-{content_hash[:16]}-{_digest(asking)}"


def asked_place(workspace: Workspace, content_hash: str) -> Path:
    return workspace.reports / f"asked-{content_hash[:16]}"


def trial_place(workspace: Workspace, content_hash: str, *asked: Any) -> Path:
    """`asked` is whatever tells two trials on these rows apart."""
    return workspace.reports / f"reward-{content_hash[:16]}-{_digest(asked)}"


def newest(workspace: Workspace, content_hash: str) -> Trial | None:
    """The newest whole trial on these rows."""
    folders = workspace.reports.glob(f"reward-{content_hash[:16]}-*")
    dated = sorted(((folder / REPORT).stat().st_mtime_ns, folder) for folder in folders if (folder / REPORT).exists())
    for _, folder in reversed(dated):
        try:
            return read_trial(folder)
        except RefusedInput:
            continue
    return None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What of a report tells whether a run may learn from the reward."""

    recipe: dict[str, Any]
    hash: str
    reasons: list[Reason]


class TriedReward(msgspec.Struct, frozen=True, kw_only=True):
    """A trial without its figures, for choosing among them."""

    dataset: str
    version: int
    model: str | None
    verdict: str
    created_at: str
    report: Told


def tried(workspace: Workspace, content_hash: str) -> list[TriedReward]:
    """The last trials on these rows, the newest first; of one reward with one model the newest alone."""
    return _told(workspace.reports.glob(f"reward-{content_hash[:16]}-*"))


def tried_elsewhere(workspace: Workspace, content_hash: str) -> list[TriedReward]:
    """As `tried`, on other rows."""
    own = f"reward-{content_hash[:16]}-"
    return _told(folder for folder in workspace.reports.glob("reward-*") if not folder.name.startswith(own))


def verdicts(found: Sequence[TriedReward], model: str) -> dict[str, str]:
    """{reward's hash: verdict} of trials with this model's answers; the newest word counts."""
    return {each.report.hash: each.verdict for each in reversed(found) if each.model == model}


def _told(folders: Iterable[Path]) -> list[TriedReward]:
    dated = sorted(((folder / REPORT).stat().st_mtime_ns, folder) for folder in folders if (folder / REPORT).exists())
    found: dict[tuple[str, str | None], TriedReward] = {}
    for changed, folder in reversed(dated[-MOST_READ:]):
        each = _read_told(folder, changed)
        if each is not None:
            found.setdefault((each.report.hash, each.model), each)
    return list(found.values())


@lru_cache(maxsize=4 * MOST_READ)
def _read_told(folder: Path, changed: int) -> TriedReward | None:
    """A form asks with every change; a report is read once as long as it stays as it is."""
    try:
        return _read(folder, TriedReward)
    except RefusedInput:
        return None


def newest_samples(workspace: Workspace, content_hash: str) -> Path | None:
    """Where the newest answers of a model to these rows are kept."""
    folders = workspace.reports.glob(f"samples-*-{content_hash[:16]}-*")
    dated = sorted(((folder / REPORT).stat().st_mtime_ns, folder) for folder in folders if (folder / REPORT).exists())
    return dated[-1][1] if dated else None


def keep(folder: Path, kept: Samples | AskedScores | Trial) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_struct(folder / REPORT, kept)


def read_trial(folder: Path) -> Trial:
    """
    Raises:
        RefusedInput: there is none.
    """
    return _read(folder, Trial)


def read_samples(folder: Path) -> Samples:
    """
    Raises:
        RefusedInput: there are none.
    """
    return _read(folder, Samples)


def read_asked(folder: Path) -> dict[str, Score]:
    """Empty where no model was asked about these rows, or what it said cannot be read."""
    try:
        return _read(folder, AskedScores).scores
    except RefusedInput:
        return {}


def _read(folder: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode((folder / REPORT).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("reward.no_report") from error


def _digest(asked: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:16]
