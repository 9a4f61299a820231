"""Candidates for new rows that models wrote: kept as a report, and read from it. Nothing here is in a data set yet.

    <workspace>/cache/reports/written-.../candidates.json   every candidate with its votes, refused ones too
                                          report.json       counts; written last

Off by default and openly labelled, for the documents clash over such rows (KNOWHOW, section 8). What asks the models is
`studio.workshop.adding.writing`; a person looks at a sample, and `studio.workshop.adding.accepting` makes a version of
what is taken.
"""

import random
from pathlib import Path
from typing import Annotated, Any

import msgspec

from studio.errors import RefusedInput
from studio.messages import say
from studio.paths import Workspace
from studio.protocol import write_atomically, write_struct
from studio.workshop.reports import REPORT, whole

CANDIDATES = "candidates.json"
OPERATION = "written"
"""The step of a version with rows that models wrote."""
BACKTRANSLATE, WRITE, BASE = "backtranslate", "write", "base"
KINDS = (BACKTRANSLATE, WRITE, BASE)
"""The question through another language and back; a new question and answer; the row's question, answered anew."""
REJECTION_SAMPLING = "rejection_sampling"
"""The kind of a report whose answers a run's model gave and a reward chose (`studio.rewards.keeping`)."""
MOST_CANDIDATES = 4000
YES, NO, UNCLEAR = "yes", "no", "unclear"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are written and judged."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Rows to start from, at most."""
    requirement: str = ""
    """What the judges are told that a row must meet."""
    max_new_tokens: Annotated[int, msgspec.Meta(ge=16, le=2048)] = 256
    """An answer that needs more is refused: it would be cut off."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] = 42


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What one judge said of one candidate."""

    judge: str
    verdict: str
    """yes, no, or unclear, which counts as no."""
    text: str
    """In its own words."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A row that could be added."""

    number: int
    """From 1, within its report."""
    parent: int
    """The row that it was made from."""
    prompt: str
    answer: str
    before: str
    """The parent's question."""
    before_answer: str
    accepted: bool
    """By the rules and by more than half of the judges."""
    code: str | None = None
    """Why it was not."""
    votes: tuple[Vote, ...] = ()
    reward: float | None = None
    """Of rejection sampling."""

    def message(self, language: str = "en") -> str:
        """Why it was not accepted, in plain words; empty if it was."""
        return say(f"problems.written.{self.code}", language, row=self.parent) if self.code else ""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """How a run's model answered, and which answers were kept."""

    checkpoint: int | None
    """None where an untouched model answered."""
    base: str
    """The untouched model that is to learn from what is kept."""
    reward: dict[str, Any]
    threshold: float
    """Least reward that was kept."""
    mean: float | None
    """Reward of all answers that have one."""
    questions_kept: int
    """Questions of which an answer was kept."""
    variety: float | None
    """Of the kept answers, see `studio.rewards.keeping.variety`."""
    variety_before: float | None
    """Of the data's own answers to the same questions."""
    rounds: int
    """How often what the model learned from had been chosen this way already."""


class WrittenReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking."""

    dataset: str
    version: int
    content_hash: str
    """Of that version."""
    kind: str
    model: str
    judges: tuple[str, ...]
    requirement: str
    asked: int
    """Rows that the model was asked about."""
    candidates: int
    accepted: int
    refused: dict[str, int]
    """Reason -> candidates."""
    judged_itself: bool
    """Whether the model that wrote is one of the judges."""
    created_at: str
    rollout: Rollout | None = None
    """Of rejection sampling."""


def options(chosen: dict[str, Any]) -> Options:
    """
    Raises:
        RefusedInput: an option that there is not, or a value that cannot be.
    """
    unknown = sorted(chosen.keys() - set(Options.__struct_fields__))
    if unknown:
        raise RefusedInput(
            "data.written.option", detail=f"{unknown[0]}; there are {', '.join(Options.__struct_fields__)}"
        )
    try:
        return msgspec.convert(chosen, Options)
    except msgspec.ValidationError as error:
        raise RefusedInput("data.written.option", detail=str(error)) from None


def keep(folder: Path, report: WrittenReport, candidates: list[Candidate]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CANDIDATES, msgspec.json.encode(candidates))
    write_struct(folder / REPORT, report)


def read_report(folder: Path) -> WrittenReport:
    """
    Raises:
        RefusedInput: there is no such report.
    """
    return _read(folder, REPORT, WrittenReport)


def read_candidates(folder: Path, *, start: int = 0, count: int = 50, accepted: bool | None = None) -> list[Candidate]:
    """`count` candidates from the `start`-th on; only accepted or only refused ones if that is said."""
    found = _read(folder, CANDIDATES, list[Candidate])
    return [each for each in found if accepted in (None, each.accepted)][start : start + count]


def sample(folder: Path, count: int, *, seed: int = 42) -> list[int]:
    """Numbers of at most `count` accepted candidates, drawn at random, for a person to look at."""
    numbers = [each.number for each in read_candidates(folder, count=MOST_CANDIDATES, accepted=True)]
    return sorted(random.Random(seed).sample(numbers, min(count, len(numbers))))


def reports_of(workspace: Workspace, dataset: str) -> list[Path]:
    """The reports on a data set's versions, newest first."""
    found = [folder for folder in workspace.reports.glob("written-*") if whole(folder)]
    found = [folder for folder in found if read_report(folder).dataset == dataset]
    return sorted(found, key=lambda folder: read_report(folder).created_at, reverse=True)


def _read(folder: Path, name: str, kind: type) -> object:
    try:
        return msgspec.json.decode((Path(folder) / name).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("data.written.no_report", folder=str(folder)) from error
