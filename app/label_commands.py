"""`luthier data label ...`: the rounds of a data set, how far annotators agree, and marks as files.

Looking reads the registry; what changes something goes through the server, as everywhere on the command line.
"""

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from app import client, show
from app.commands import AsJson, followed, raise_if_failed, registry
from studio.db import datasets, label_results, labels
from studio.db.labels import RoundView
from studio.errors import RefusedInput
from studio.paths import workspace
from studio.protocol import write_atomically
from studio.workshop.labelling.agreement import agreement, pairs
from studio.workshop.labelling.mark_files import CSV, JSONL, write_marks

label_app = typer.Typer(help="Rounds of labelling, and their marks.", no_args_is_help=True)


@label_app.command("rounds")
def rounds(name: str, as_json: AsJson = False) -> None:
    """List the rounds of a data set, newest first."""
    with registry() as session:
        found = labels.list_rounds(session, datasets.dataset(session, name).name)
    document = [asdict(each) | {"scale": msgspec.to_builtins(each.scale)} for each in found]
    show.lines(document, [f"{it.id}  {it.name}  {it.done}/{it.rows}" for it in found], as_json=as_json)


@label_app.command("agreement")
def show_agreement(number: int, as_json: AsJson = False) -> None:
    """Tell how far the annotators of a round agree beyond chance."""
    found, marks = _marks(number)
    given: dict[int, dict[str, str]] = defaultdict(dict)
    for each in marks:
        if each.counts and not each.is_decision and each.rating is not None:
            given[each.row][each.annotator] = each.rating
    order = found.scale.order
    whole = msgspec.to_builtins(agreement(given, order=order))
    two = [{"who": [a, b]} | msgspec.to_builtins(each) for a, b, each in pairs(given, order=order)]
    value = "–" if whole["value"] is None else f"{whole['value']:.3f}"
    show.lines(whole | {"pairs": two}, [f"{whole['measure']}: {value} ({whole['rows']} rows)"], as_json=as_json)


@label_app.command("export")
def export(number: int, out: Path, as_json: AsJson = False) -> None:
    """Write every mark and decision of a round as JSONL, or as CSV if the file's name says so."""
    _, marks = _marks(number)
    try:
        write_atomically(out, write_marks(marks, CSV if out.suffix.lower() == ".csv" else JSONL).encode())
    except OSError as error:
        raise RefusedInput("export.cannot_write", file=str(out), detail=error.strerror or str(error)) from error
    show.lines({"file": str(out), "marks": len(marks)}, [f"{out}: {len(marks)}"], as_json=as_json)


@label_app.command("import")
def import_marks(number: int, file: Path, as_json: AsJson = False) -> None:
    """Take over marks from a JSONL or CSV file; all of them, or none and the line at fault."""
    path = str(file.expanduser().resolve())
    count = client.call(workspace(), "labelling.import_marks", round_id=number, path=path)
    show.lines({"marks": count}, [str(count)], as_json=as_json)


@label_app.command("apply")
def apply(
    number: int,
    least_rating: Annotated[
        int | None, typer.Option(help="Leave out rows rated lower (of good and bad: the bad).")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Label that stays; may be given again.")] = None,
    drop_tag: Annotated[list[str] | None, typer.Option(help="Leave out rows with this tag.")] = None,
    drop_unmarked: Annotated[bool, typer.Option("--drop-unmarked", help="Leave out rows without a mark.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version of what a round came to: rows left out with their reason, corrected answers put in."""
    place = workspace()
    chosen = {"least_rating": least_rating, "labels": label or [], "drop_tags": drop_tag or []}
    job_id = client.call(place, "labelling.apply_marks", round_id=number, drop_unmarked=drop_unmarked, **chosen)
    raise_if_failed(followed(place, job_id))
    with registry() as session:
        made = datasets.dataset(session, labels.label_round(session, number).dataset)
    show.datasets([made], as_json=as_json)


def _marks(number: int) -> tuple[RoundView, list[label_results.MarkView]]:
    with registry() as session:
        return labels.label_round(session, number), label_results.marks(session, number)
