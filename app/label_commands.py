"""`luthier data label ...`: rounds of labelling from their start to the version that their marks make.

    luthier data label start support --guide guide.md      3 · first: 50 rows
    luthier data label rows 3 --json > rows.json           what there is to mark, with each row's digest
    luthier data label mark 3 17 --annotator Ann --rating 4
    luthier data label import 3 marks.jsonl                marks made elsewhere
    luthier data label apply 3 --least-rating 3            a new version

Looking reads the registry; what changes something goes through the server, as everywhere on the command line.
"""

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
Rating = Annotated[str | None, typer.Option(help="A rating that the round's scale has.")]


# -- rounds ----------------------------------------------------------------------------------------------------------


@label_app.command("rounds")
def rounds(name: str, as_json: AsJson = False) -> None:
    """List the rounds of a data set, newest first."""
    with registry() as session:
        found = labels.list_rounds(session, datasets.dataset(session, name).name)
    show.lines([_document(each) for each in found], [_line(each) for each in found], as_json=as_json)


@label_app.command("start")
def start(  # noqa: PLR0913 - what a round is
    dataset: str,
    name: Annotated[str | None, typer.Option(help="The round's name; numbered if left out.")] = None,
    scale: Annotated[str, typer.Option(help="stars, good_bad, or labels (of your own).")] = "stars",
    label: Annotated[list[str] | None, typer.Option(help="A label of your own; may be given again.")] = None,
    guide: Annotated[Path | None, typer.Option(help="Text file that stands beside every row.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag to offer; may be given again.")] = None,
    num_annotators: Annotated[int, typer.Option(help="People for each row.")] = 1,
    by: Annotated[str | None, typer.Option(help="all, random, findings or disagreement.")] = None,
    count: Annotated[int | None, typer.Option(help="How many rows; 50 if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same rows.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Start a round: ask for marks of rows of a data set's current version."""
    with registry() as session:
        number = len(labels.list_rounds(session, datasets.dataset(session, dataset).name)) + 1
    asked: dict[str, Any] = {"kind": scale, "labels": label or [], "by": by, "count": count, "seed": seed}
    asked |= {"name": name or show.sentence("data.labelling.round_number", number=number), "tags": tag or []}
    asked |= {"guide": _text_of(guide) if guide else "", "num_annotators": num_annotators}
    made = client.call(workspace(), "labelling.open_round", dataset=dataset, **asked)
    _show_round(made, as_json=as_json)


@label_app.command("guide")
def guide(
    number: int,
    file: Annotated[Path | None, typer.Argument(help="Text file with the new guide.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a round's guide, or put another in its place."""
    if file:
        client.call(workspace(), "labelling.edit_guide", round_id=number, guide=_text_of(file))
    with registry() as session:
        found = labels.label_round(session, number)
    show.lines(_document(found), [found.guide], as_json=as_json)


@label_app.command("close")
def close(number: int, as_json: AsJson = False) -> None:
    """Ask for no more marks; what was said stays."""
    client.call(workspace(), "labelling.close_round", round_id=number)
    _show_round(number, as_json=as_json)


@label_app.command("reopen")
def reopen(number: int, as_json: AsJson = False) -> None:
    """Go on with a round that was closed."""
    client.call(workspace(), "labelling.close_round", round_id=number, is_closed=False)
    _show_round(number, as_json=as_json)


@label_app.command("rows")
def rows(number: int, as_json: AsJson = False) -> None:
    """Print the rows of a round: number, digest, question, answer. Marks made of it come back with `import`."""
    from studio.workshop.labelling import label_rows
    from studio.workshop.versions.reader import rows_at

    with registry() as session:
        found = labels.label_round(session, number)
        version = datasets.dataset(session, found.dataset, found.version_number)
        wanted = labels.task_rows(session, number)
    held, format = rows_at(Path(version.path), wanted), version.format
    listed = [
        {
            "row": row,
            "digest": label_rows.digest(held[row], format),
            "question": label_rows.question(held[row], format),
            "answer": label_rows.answer(held[row], format),
        }
        for row in wanted
        if row in held
    ]
    lines = [f"{it['row']}: {it['question'] or ''} / {it['answer'] or ''}" for it in listed]
    show.lines(listed, lines, as_json=as_json)


@label_app.command("mark")
def mark(  # noqa: PLR0913 - what a mark says
    number: int,
    row: int,
    annotator: Annotated[str, typer.Option(help="Who marks.")],
    rating: Rating = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the row; may be given again.")] = None,
    correction: Annotated[str | None, typer.Option(help="The answer as it should be.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    flag: Annotated[bool, typer.Option("--flag", help="Leave the row to an arbiter.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mark one row of a round; a second mark of the same annotator takes the place of the first."""
    said = {"rating": rating, "tags": tag or [], "correction": correction, "note": note, "is_flagged": flag}
    client.call(workspace(), "labelling.mark_row", round_id=number, row=row, annotator=annotator, **said)
    _show_round(number, as_json=as_json)


# -- disputes --------------------------------------------------------------------------------------------------------


@label_app.command("disputes")
def disputes(number: int, as_json: AsJson = False) -> None:
    """Print the rows that wait for a decision, each with what was said of it."""
    with registry() as session:
        labels.label_round(session, number)
        waiting = label_results.disputed(session, number)
    listed = [{"row": task.row, "marks": [asdict(mark) for mark in said]} for task, said in waiting]
    lines = [f"{task.row}: " + ", ".join(f"{it.annotator} {it.rating or '–'}" for it in said) for task, said in waiting]
    show.lines(listed, lines, as_json=as_json)


@label_app.command("decide")
def decide(  # noqa: PLR0913 - what a decision says
    number: int,
    row: int,
    arbiter: Annotated[str, typer.Option(help="Who decides.")],
    rating: Rating = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the row; may be given again.")] = None,
    correction: Annotated[str | None, typer.Option(help="The answer as it should be.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say the final word on a row in dispute."""
    said = {"rating": rating, "tags": tag or [], "correction": correction, "note": note}
    client.call(workspace(), "labelling.decide_row", round_id=number, row=row, arbiter=arbiter, **said)
    _show_round(number, as_json=as_json)


@label_app.command("undo")
def undo(
    number: int, annotator: Annotated[str, typer.Option(help="Whose last mark.")], as_json: AsJson = False
) -> None:
    """Take an annotator's last mark back; prints its row."""
    row = client.call(workspace(), "labelling.undo", round_id=number, annotator=annotator)
    show.lines({"row": row}, [str(row)], as_json=as_json)


# -- what came of it -------------------------------------------------------------------------------------------------


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
    line = show.sentence("cli.data.labels.agreement", measure=whole["measure"], value=value, count=whole["rows"])
    show.lines(whole | {"pairs": two}, [line], as_json=as_json)


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
    show.lines({"marks": count}, [show.sentence("cli.data.labels.imported", count=count)], as_json=as_json)


@label_app.command("apply")
def apply(  # noqa: PLR0913 - which rows stay
    number: int,
    least_rating: Annotated[
        int | None, typer.Option(help="Leave out rows rated lower (of good and bad: the bad).")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Label that stays; may be given again.")] = None,
    drop_tag: Annotated[list[str] | None, typer.Option(help="Leave out rows with this tag.")] = None,
    keep_tag: Annotated[list[str] | None, typer.Option(help="Keep only rows with one of these tags.")] = None,
    drop_unmarked: Annotated[bool, typer.Option("--drop-unmarked", help="Leave out rows without a mark.")] = False,
    corrections: Annotated[bool, typer.Option(help="Put corrected answers in.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version of what a round came to: rows left out with their reason, corrected answers put in."""
    place = workspace()
    chosen: dict[str, Any] = {"least_rating": least_rating, "labels": label or [], "use_corrections": corrections}
    chosen |= {"drop_tags": drop_tag or [], "keep_tags": keep_tag or [], "drop_unmarked": drop_unmarked}
    if dry_run:
        found = client.call(place, "labelling.would", round_id=number, **chosen)
        counts = {"out": len(found["left_out"]), "corrected": len(found["corrections"])}
        return show.lines(found, [show.sentence("data.labelling.would", **counts)], as_json=as_json)
    raise_if_failed(followed(place, client.call(place, "labelling.apply_marks", round_id=number, **chosen)))
    with registry() as session:
        made = datasets.dataset(session, labels.label_round(session, number).dataset)
    show.datasets([made], as_json=as_json)


# -- what these commands share ---------------------------------------------------------------------------------------


def _marks(number: int) -> tuple[RoundView, list[label_results.MarkView]]:
    with registry() as session:
        return labels.label_round(session, number), label_results.marks(session, number)


def _show_round(number: int, *, as_json: bool) -> None:
    with registry() as session:
        found = labels.label_round(session, number)
    show.lines(_document(found), [_line(found)], as_json=as_json)


def _document(found: RoundView) -> dict[str, Any]:
    return asdict(found) | {"scale": msgspec.to_builtins(found.scale)}


def _line(found: RoundView) -> str:
    return f"{found.id}  {found.name}  {found.done}/{found.rows}"


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise RefusedInput("data.no_such_file", file=str(file)) from None
