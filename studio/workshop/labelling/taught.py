"""What annotators' marks taught: the quality check's classifier, and the ratings that choose among duplicates.

    <workspace>/cache/reports/quality-.../model.json    the classifier (studio.workshop.checks.quality)
                                          report.json   Taught; written last
    <workspace>/cache/ratings/4f2a....json              {"17": 0.8, ...}: row -> rating, 0 to 1

Heavy libraries are imported where they are used: the server starts without them.
"""

import hashlib
from pathlib import Path

import msgspec

from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.protocol import utc_now, write_atomically, write_struct
from studio.workshop.reports import REPORT, whole

MODEL = "model.json"


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """A classifier of a data set's answers."""

    dataset: str
    version: int
    kept: int
    """Marks to keep that it learned from."""
    dropped: int
    accuracy: float
    """Balanced accuracy on marks that were held out, five times in turn; guessing has 0.5."""
    created_at: str


def teach(version: Path, marks: dict[int, bool], folder: Path, *, dataset: str, number: int) -> Taught:
    """Train the classifier on the rows that are still there.

    Raises:
        RefusedInput: too few marks of one kind.
    """
    from studio.workshop import table
    from studio.workshop.checks import quality

    model = quality.train(marks, table.load(version))
    folder.mkdir(parents=True, exist_ok=True)
    quality.save(model, folder / MODEL)
    figures = {"kept": model.kept, "dropped": model.dropped, "accuracy": model.accuracy}
    report = Taught(dataset=dataset, version=number, created_at=utc_now(), **figures)
    write_struct(folder / REPORT, report)
    return report


def find(workspace: Workspace, dataset: str) -> tuple[Taught, Path] | None:
    """The newest classifier of a data set, and its file."""
    folders = [folder for folder in workspace.reports.glob("quality-*") if whole(folder)]
    known = [(msgspec.json.decode((folder / REPORT).read_bytes(), type=Taught), folder / MODEL) for folder in folders]
    mine = [each for each in known if each[0].dataset == dataset]
    return max(mine, key=lambda each: each[0].created_at, default=None)


def keep_ratings(workspace: Workspace, ratings: dict[int, float]) -> Path:
    """A file of these ratings; the same ratings have the same file."""
    data = msgspec.json.encode({str(row): value for row, value in sorted(ratings.items())})
    path = workspace.cache / "ratings" / f"{hashlib.sha256(data).hexdigest()[:16]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return path


def read_ratings(path: Path) -> dict[int, float]:
    """
    Raises:
        RefusedInput: there is no such file, or it holds no ratings.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, float])
    except (OSError, msgspec.MsgspecError) as error:
        raise RefusedInput("data.marks.no_ratings", file=path.name) from error
