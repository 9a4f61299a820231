"""What the untouched model can do with good prompts: the report of a `baseline` job, and what it means.

    <workspace>/cache/reports/baseline-<model>-<rows>-<asked>/report.json      figures of each prompt
                                                              answers.json     the rows with every prompt's answer

A report is found by the content of model and rows, so a data set version that trains alike shares it. A job writes it
(`trainers.baseline`); the train page, the preflight and a run's first point on its curve read it. No torch here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from studio.errors import RefusedInput
from studio.params.tunings import is_compressed
from studio.paths import TEMPLATES, Workspace
from studio.protocol import write_struct
from studio.workshop.reports import REPORT
from studio.workshop.versions.layout import MESSAGES, PROMPT_COMPLETION

PLAIN, SYSTEM, EXAMPLES, RETRIEVED, CONTEXT = "plain", "system", "examples", "retrieved", "context"
KINDS = (PLAIN, SYSTEM, EXAMPLES, RETRIEVED, CONTEXT)
"""Kinds of prompts; `studio.evaluation.prompts` makes them."""
ANSWERS = "answers.json"
FORMATS = (MESSAGES, PROMPT_COMPLETION)
"""Rows of these hold a question and an answer."""
SUFFICES, CANNOT, BETWEEN, UNKNOWN = "suffices", "cannot", "between", "unknown"
"""What the answers say: no fine-tuning is needed; training is unlikely to help; it may; nobody can tell by rule."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows a run would validate with, and how: what must agree for its curve to begin at our loss."""

    validation_split: float
    seed: int
    max_length: int
    per_device_eval_batch_size: int
    load_in_4bit: bool
    load_in_8bit: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Held":
        names = ("validation_split", "seed", "max_length", "per_device_eval_batch_size")
        in_8bit = bool(values.get("load_in_8bit"))
        in_4bit = is_compressed(values["tuning"]) and not in_8bit
        return cls(**{name: values[name] for name in names}, load_in_4bit=in_4bit, load_in_8bit=in_8bit)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """How the untouched model is to be asked."""

    kinds: list[str]
    system: str = ""
    """A person's system prompt; empty: one is proposed from the rows."""
    goal: str = ""
    """What the run is for; a proposed system prompt begins with it."""
    context: str = ""
    """A pasted text, for the kind `context`."""
    rows: int
    """At most so many are compared."""
    seconds: float
    """Writing answers takes no longer."""
    held: Held


class PromptResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one prompt came to."""

    kind: str
    """plain, system, examples, retrieved or context, see `studio.evaluation.prompts`."""
    system: str = ""
    """The system prompt that the model was given."""
    is_proposed: bool = False
    """It was put together from the rows."""
    shown: int = 0
    """Examples before each question; passages at most."""
    rows: int = 0
    """Rows with a loss."""
    loss: float | None = None
    """Of their answers, in nats a token, as a run's eval_loss is reckoned; None where no row fits."""
    validation_loss: float | None = None
    """The same over every validation row, where it was measured: plain and the best one."""
    answered: int = 0
    right: int | None = None
    """None where no rule can say what is right."""
    interval: tuple[float, float] | None = None
    """95 % interval of the share that is right (Wilson 1927)."""
    exact: float | None = None
    f1: float | None = None
    follows: float | None = None
    """Share of the answers in the wanted form."""

    @property
    def share(self) -> float | None:
        return self.right / self.answered if self.right is not None and self.answered else None


class BaselineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What asking came to."""

    model: str
    dataset: str
    version: int
    task: str
    """labels, json, short or free."""
    wanted: dict[str, Any]
    """The form of an answer: kind, labels, keys, shortest, longest, opening."""
    held: Held
    is_held_out: bool
    """The rows are a share of the others, as a run would hold them out; else the version's own validation side."""
    validation_rows: int
    rows: int
    """Rows that were compared."""
    prompts: list[PromptResult]
    best: str
    """Kind of the best prompt."""
    verdict: str
    loss_seconds: float
    answer_seconds: float
    most_seconds: float
    """Writing answers was to take no longer."""
    created_at: str
    left_out: dict[str, int] = {}
    """Alert code -> validation rows that could not be used."""

    def of(self, kind: str) -> PromptResult | None:
        return next((each for each in self.prompts if each.kind == kind), None)

    @property
    def best_prompt(self) -> PromptResult:
        found = self.of(self.best)
        assert found is not None
        return found


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One compared row, and what was answered: prompt kind -> text and score."""

    row: int
    question: str
    wanted: str
    answers: dict[str, str] = {}
    right: dict[str, bool | None] = {}
    follows: dict[str, bool] = {}


@dataclass(frozen=True)
class Kept:
    """A report and its folder."""

    folder: Path
    report: BaselineReport


@cache
def rules() -> Mapping[str, Any]:
    return yaml.safe_load((TEMPLATES / "advice" / "baseline.yaml").read_text("utf-8"))


# -- what it means ---------------------------------------------------------------------------------------------------


def best_of(prompts: Sequence[PromptResult]) -> str:
    """Kind of the best prompt: most right where enough rows were answered, else the least loss.

    One that did not fit every row is out.

    Raises:
        ValueError: none of them has a loss.
    """
    most = max((each.rows for each in prompts), default=0)
    scored = [each for each in prompts if each.loss is not None and each.rows == most]
    judged = [each for each in scored if each.share is not None and each.answered >= rules()["least_judged"]]
    if judged:
        return max(judged, key=lambda each: (each.share, -each.loss)).kind
    return min(scored, key=lambda each: each.loss).kind


def verdict_of(best: PromptResult) -> str:
    """What the best prompt's answers say."""
    enough, hopeless = rules()["suffices"], rules()["cannot"]
    if best.share is None or best.interval is None:
        return UNKNOWN
    if best.answered >= enough["rows"] and best.share >= enough["share"] and best.interval[0] > enough["low"]:
        return SUFFICES if (best.follows or 0.0) >= enough["follows"] else BETWEEN
    if best.answered >= hopeless["rows"]:
        return CANNOT if best.share < hopeless["below"] else BETWEEN
    return UNKNOWN


def eval_loss(losses: Sequence[tuple[int, float]], batch: int) -> float | None:
    """The mean that transformers' Trainer reports as eval_loss: token means of batches, weighted by their rows.

    Args:
        losses: answer tokens and mean loss of each row, in the data set's order.
    """
    total = 0.0
    for start in range(0, len(losses), batch):
        part = losses[start : start + batch]
        tokens = sum(count for count, _ in part)
        total += len(part) * sum(count * loss for count, loss in part) / tokens
    return total / len(losses) if losses else None


# -- where it lies ---------------------------------------------------------------------------------------------------


def place(workspace: Workspace, model_hash: str, content_hash: str, asked: Any) -> Path:
    """The folder of a report, whether it exists or not; `asked` is whatever tells two ways of asking apart."""
    digest = hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:16]
    return workspace.reports / f"baseline-{model_hash[:16]}-{content_hash[:16]}-{digest}"


def newest(workspace: Workspace, model_hash: str, content_hash: str) -> Kept | None:
    """The newest whole report on this model and these rows."""
    folders = workspace.reports.glob(f"baseline-{model_hash[:16]}-{content_hash[:16]}-*")
    dated = sorted(((folder / REPORT).stat().st_mtime_ns, folder) for folder in folders if (folder / REPORT).exists())
    for _, folder in reversed(dated):
        try:
            return Kept(folder, read(folder))
        except RefusedInput:
            continue
    return None


def keep(folder: Path, report: BaselineReport, answers: list[Asked]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_bytes(msgspec.json.encode(answers))
    write_struct(folder / REPORT, report)


def read(folder: Path) -> BaselineReport:
    """
    Raises:
        RefusedInput: there is none.
    """
    return _read(folder / REPORT, BaselineReport)


def read_answers(folder: Path) -> list[Asked]:
    """
    Raises:
        RefusedInput: there are none.
    """
    return _read(folder / ANSWERS, list[Asked])


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("baseline.no_report") from error
