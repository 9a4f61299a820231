"""A version with candidates that models wrote and a person took: `studio.workshop.adding.written` -> rows.

    accept(v3, report, [2, 5], v4)             v3's rows and two new ones, `origin` "augment:written:starter:17"
    accept(v3, report, [2, 5], v1, only=True)  the two new ones alone, for mixing: a data set of its own

Only what trains can have been a parent: a candidate whose parent is held out by now is left out and counted. Used
inside jobs only: it brings polars along. The origin begins with "augment:" because a split keeps such rows, and those
that they were made from, in training.
"""

from pathlib import Path

import polars as pl

from studio.errors import RefusedInput
from studio.workshop import table
from studio.workshop.adding.added import copied, training_rows
from studio.workshop.adding.augmenting import write_added
from studio.workshop.adding.written import BASE, MOST_CANDIDATES, Candidate, read_candidates, read_report
from studio.workshop.clean.augment import ADD
from studio.workshop.clean.outcome import REMOVE
from studio.workshop.found import Findings
from studio.workshop.versions.manifest import Manifest, Step, read_manifest

OPERATION = "written"


def accept(
    version: Path, report: Path, numbers: list[int] | None, folder: Path, *, only: bool = False
) -> tuple[Manifest, dict[str, int]]:
    """Write the version; returns also how many rows were added and how many candidates were left out.

    Args:
        numbers: those of the candidates; None: all that were accepted.
        only: leave the version's own rows out.

    Raises:
        RefusedInput: none of the candidates can be taken.
    """
    known, rows = read_report(report), table.load(version)
    chosen = choose(report, numbers)
    trains = set(training_rows(rows)["row"])
    taken = [each for each in chosen if each.parent in trains]
    if not taken:
        raise RefusedInput("data.written.nothing")
    mark = "base" if known.kind == BASE else "written"
    origins = [f"augment:{mark}:{known.model}:{each.parent}" for each in taken]
    first = 1 + max(read_manifest(version).source_rows, int(rows["row"].max()))
    added = copied(rows, [each.parent for each in taken], origins, first=first)
    added = table.with_texts(added, _texts(added, taken))
    counts = {"added": len(taken), "left_out": len(chosen) - len(taken)}
    parameters = {"kind": known.kind, "model": known.model, "judges": list(known.judges), **counts}
    whole = added if only else pl.concat([rows, added], how="diagonal")
    step = Step(operation=OPERATION, parameters=parameters, rows_in=rows.height, rows_out=whole.height)
    excluded = _left_behind(rows) if only else None
    told = _told(added["row"].to_list(), taken, known.model, mark)
    return write_added(folder, parent=version, rows=whole, told=told, step=step, excluded=excluded), counts


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
