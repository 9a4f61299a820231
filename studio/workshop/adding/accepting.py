"""A version with candidates that models wrote and a person took: `studio.workshop.adding.written` -> rows.

    accept(v3, report, [2, 5], v4)             v3's rows and two new ones, `origin` "augment:written:starter:17"
    accept(v3, report, [2, 5], v1, only=True)  the two new ones alone, for mixing: a data set of its own

Only what trains can have been a parent: a candidate whose parent is held out by now is left out and counted. Used
inside jobs only: it brings polars along. The origin begins with "augment:" because a split keeps such rows, and those
that they were made from, in training.
"""

from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import RefusedInput
from studio.workshop import table
from studio.workshop.adding.added import copied, training_rows
from studio.workshop.adding.augmenting import write_added
from studio.workshop.adding.writing import FORMATS
from studio.workshop.adding.written import (
    BASE,
    MOST_CANDIDATES,
    OPERATION,
    REJECTION_SAMPLING,
    Candidate,
    WrittenReport,
    read_candidates,
    read_report,
)
from studio.workshop.clean.augment import ADD
from studio.workshop.clean.outcome import REMOVE
from studio.workshop.found import Findings
from studio.workshop.versions.layout import KEPT_COLUMNS, MESSAGES
from studio.workshop.versions.manifest import Manifest, Step, read_manifest

_MARKS = {BASE: "base", REJECTION_SAMPLING: "rollout"}
"""What stands in a new row's origin."""


def accept(
    version: Path, report: Path, numbers: list[int] | None, folder: Path, *, only: bool = False
) -> tuple[Manifest, dict[str, int]]:
    """Write the version; returns also how many rows were added and how many candidates were left out.

    Args:
        numbers: those of the candidates; None: all that were accepted.
        only: leave the version's own rows out.

    Raises:
        RefusedInput: none of the candidates can be taken, or the version has no place for an answer.
    """
    known, rows = read_report(report), table.load(version)
    chosen = choose(report, numbers)
    trains = set(training_rows(rows)["row"])
    taken = [each for each in chosen if each.parent in trains]
    if not taken:
        raise RefusedInput("data.written.nothing")
    mark = _MARKS.get(known.kind, "written")
    origins = [f"augment:{mark}:{known.model}:{each.parent}" for each in taken]
    first = 1 + max(read_manifest(version).source_rows, int(rows["row"].max()))
    format = _format(version, only=only)
    parents = rows if format is None else answered(rows)
    added = copied(parents, [each.parent for each in taken], origins, first=first)
    added = table.with_texts(added, _texts(added, taken))
    counts = {"added": len(taken), "left_out": len(chosen) - len(taken)}
    parameters = {"kind": known.kind, "model": known.model, "judges": list(known.judges), **counts, **_chosen_by(known)}
    whole = added if only else pl.concat([rows, added], how="diagonal")
    step = Step(operation=OPERATION, parameters=parameters, rows_in=rows.height, rows_out=whole.height)
    excluded = _left_behind(rows) if only else None
    told = _told(added["row"].to_list(), taken, known.model, mark)
    manifest = write_added(folder, parent=version, rows=whole, told=told, step=step, excluded=excluded, format=format)
    return manifest, counts


def _format(version: Path, *, only: bool) -> str | None:
    """`messages` where the version's own format holds no single answer, which is possible only beside it."""
    format = read_manifest(version).format
    if format in FORMATS:
        return None
    if not only:
        raise RefusedInput("data.written.only_beside", format=format)
    return MESSAGES


def answered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a column `prompt` of turns as `messages`: the prompt, and an empty answer.

    {"row": 7, "prompt": [{user, "Hi"}]}  ->  {"row": 7, "messages": [{user, "Hi"}, {assistant, ""}]}
    """
    turn = rows.schema["prompt"].inner
    answer = pl.struct(
        (pl.lit("assistant") if field.name == "role" else pl.lit("") if field.name == "content" else pl.lit(None))
        .cast(field.dtype)
        .alias(field.name)
        for field in turn.fields
    )
    said = pl.concat_list("prompt", pl.concat_list(answer))
    return rows.select(*[name for name in KEPT_COLUMNS if name in rows.columns], "row", said.alias("messages"))


def _chosen_by(known: WrittenReport) -> dict[str, Any]:
    """Where chosen answers come from: the checkpoint, the reward and what it took to be kept."""
    if known.rollout is None:
        return {}
    told = known.rollout
    return {
        "checkpoint": told.checkpoint,
        "base": told.base,
        "reward": told.reward,
        "threshold": told.threshold,
        "rounds": told.rounds,
    }


def choose(report: Path, numbers: list[int] | None) -> list[Candidate]:
    """The candidates of these numbers.

    Raises:
        RefusedInput: one that there is not, or whose text is missing.
    """
    if numbers is None:
        return read_candidates(report, count=MOST_CANDIDATES, accepted=True)
    found = {each.number: each for each in read_candidates(report, count=MOST_CANDIDATES) if each.prompt}
    for number in numbers:
        if number not in found:
            raise RefusedInput("data.written.no_candidate", number=number)
    return [found[number] for number in sorted(set(numbers))]


def _texts(added: pl.DataFrame, taken: list[Candidate]) -> pl.DataFrame:
    """The first question and the last answer of each new row, with the texts that they are to have."""
    pieces = table.texts(added)
    asked = pieces.filter(pl.col("role") == "user").unique("row", keep="first", maintain_order=True)
    said = pieces.filter(pl.col("role") == "assistant").unique("row", keep="last", maintain_order=True)
    new = pl.DataFrame(
        {
            "row": added["row"],
            "prompt": [each.prompt for each in taken],
            "answer": [each.answer for each in taken],
        }
    )
    changed = [
        part.select("row", "column", "turn").join(new.select("row", pl.col(column).alias("text")), on="row")
        for part, column in ((asked, "prompt"), (said, "answer"))
    ]
    return pl.concat(changed)


def _told(numbers: list[int], taken: list[Candidate], model: str, mark: str) -> pl.DataFrame:
    found = Findings()
    for number, each in zip(numbers, taken, strict=True):
        before, after = (f"{prompt}\n\n{answer}" for prompt, answer in _sides(each))
        values = {"parent": each.parent, "model": model, "before": before, "after": after}
        found.add_change(number, f"written.row_{mark}", "", ADD, **values)
    return found.frame()


def _sides(candidate: Candidate) -> tuple[tuple[str, str], tuple[str, str]]:
    return (candidate.before, candidate.before_answer), (candidate.prompt, candidate.answer)


def _left_behind(rows: pl.DataFrame) -> pl.DataFrame:
    found = Findings()
    for number in rows["row"]:
        found.add(number, "written.left_behind", "", REMOVE)
    return found.frame().select("row", "code", "field", "values")
