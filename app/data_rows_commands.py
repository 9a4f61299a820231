"""`luthier data ...`: splitting, mixing and balancing rows, and adding new ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app import show
from app.commands import AsJson, done
from app.data_shown import Settings, as_options, ask_difficulty, asked, plain, show_version, told, version_of
from studio.errors import RefusedInput

app = typer.Typer()


@app.command("split")
def data_split(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Tell rows apart for training, validation and test; makes a new version."""
    job = done("split_dataset", name=name, options=as_options(settings))
    manifest = job.figures["manifest"]
    version = version_of(name)
    document = {"name": version.name, "version": version.version, "rows": version.rows, "splits": manifest["splits"]}
    show.document(document, as_json=as_json)


@app.command("schema")
def data_schema(name: str, as_json: AsJson = False) -> None:
    """Print the form that most answers have as a recipe for `clean`: JSON with these keys, labels, SQL or a pattern."""
    import yaml

    from studio.workshop.answer_schema import schema_of

    found = schema_of(Path(version_of(name).path))
    if not found:
        raise RefusedInput("data.page.no_schema")
    recipe = {"steps": [{"step": "task_schema", "options": found}]}
    show.lines(recipe, [yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip()], as_json=as_json)


@app.command("mix")
def data_mix(
    name: str,
    parts: Annotated[list[str], typer.Option("--with", help="NAME[@VERSION]=SHARE, such as general=0.05; may repeat.")],
    seed: Annotated[int, typer.Option(help="Same seed, same rows.")] = 42,
    convert: Annotated[bool, typer.Option("--convert", help="Turn questions and answers into conversations.")] = False,
    into: Annotated[str | None, typer.Option(help="Name of a new data set, instead of a new version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mix rows of other data sets in, each up to its share of the whole; makes a new version."""
    named = [_part(text) for text in parts]
    job = done("mix_datasets", name=name, parts=named, seed=seed, convert=convert, into=into)
    version = version_of(into or name)
    taken = job.figures["manifest"]["steps"][-1]["parameters"]["parts"]
    document = {"name": version.name, "version": version.version, "rows": version.rows, "parts": taken}
    show.document(document, as_json=as_json)


@app.command("balance")
def data_balance(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Repeat rows of small classes; makes a new version."""
    done("balance_dataset", name=name, options=as_options(settings))
    show_version(name, as_json=as_json)


@app.command("order")
def data_order(
    name: str,
    model: Annotated[str | None, typer.Option(help="Ask this model, or checkpoint's number, about every row.")] = None,
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Squeeze the model that is asked.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Score how hard each row is, for a curriculum; makes a new version."""
    losses = {}
    if model:
        ask_difficulty(name, model, load_in_4bit=load_in_4bit)
        losses = {"model": asked(model), "load_in_4bit": load_in_4bit}
    done("order_dataset", name=name, options=as_options(settings), **losses)
    show_version(name, as_json=as_json)


# -- more rows ---------------------------------------------------------------------------------------------------


@app.command("augment")
def data_augment(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Add rows whose question says the same in other words (under 1,000 rows only); makes a new version."""
    added = done("augment_dataset", name=name, options=as_options(settings)).figures["added"]
    version = version_of(name)
    rows = list(told(_added(version), version))
    document = {"name": version.name, "version": version.version, "rows": version.rows, "added": added, "new": rows}
    lines = [show.sentence("cli.data.added.rows", count=len(rows), **document)]
    show.lines(document, lines + [f"  {each['after']}" for each in rows], as_json=as_json)


@app.command("write")
def data_write(
    name: str,
    model: Annotated[str, typer.Option(help="Who writes: a model's name, or a checkpoint's number.")],
    kind: Annotated[str, typer.Option(help="write, backtranslate, or base.")] = "write",
    judge: Annotated[list[str] | None, typer.Option(help="Who judges, as --model; may be given again.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Have a model write candidates for new rows, and others judge them. Off unless you ask; makes no version."""
    from studio.workshop.adding import written

    chosen = {"model": asked(model), "kind": kind, "judges": [asked(each) for each in judge or []]}
    job = done("write_rows", name=name, options=as_options(settings), **chosen)
    folder = Path(job.figures["report"])
    report = plain(written.read_report(folder))
    candidates = written.read_candidates(folder, count=written.MOST_CANDIDATES)
    document = {"report": str(folder), **report, "rows": plain(candidates)}
    found = show.sentence("data.written.told", count=report["candidates"], **report)
    lines = [show.sentence("data.written.label"), found, str(folder)]
    lines += [f"  {each.number}: {each.message() or each.prompt + ' / ' + each.answer}" for each in candidates]
    show.lines(document, lines, as_json=as_json)


@app.command("choose")
def data_choose(
    name: str,
    checkpoint: Annotated[int, typer.Option(help="Number of a checkpoint of a run that learned from a reward.")],
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Have a run's model answer the questions, and keep the answers that earn most (rejection sampling)."""
    from studio.workshop.adding import written

    job = done("choose_answers", name=name, model={"checkpoint": checkpoint}, options=as_options(settings))
    folder = Path(job.figures["report"])
    report = plain(written.read_report(folder))
    candidates = written.read_candidates(folder, count=written.MOST_CANDIDATES)
    document = {"report": str(folder), **report, "rows": plain(candidates)}
    lines = [show.sentence("data.written.told", count=report["candidates"], **report), str(folder)]
    lines += [f"  {each.number}: {each.reward} {each.message() or each.answer}" for each in candidates]
    show.lines(document, lines, as_json=as_json)


@app.command("accept")
def data_accept(
    name: str,
    report: Annotated[Path, typer.Argument(help="The report that `data write` named.")],
    row: Annotated[list[int] | None, typer.Option(help="Candidate to take; may be given again.")] = None,
    accepted: Annotated[bool, typer.Option("--accepted", help="Take all that the judges accepted.")] = False,
    into: Annotated[str | None, typer.Option(help="Name of a new data set that holds them alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take candidates that you have looked at into the data set; makes a new version."""
    chosen = None if accepted else row or []
    figures = done("accept_rows", name=name, report=str(report.resolve()), rows=chosen, into=into).figures
    version = version_of(into or name)
    counts = {each: figures[each] for each in ("added", "left_out")}
    document = {"name": version.name, "version": version.version, "rows": version.rows} | counts
    line = show.sentence("cli.data.added.taken", **document)
    show.lines(document, [line], as_json=as_json)


# -- what is asked for -------------------------------------------------------------------------------------------


def _added(version: Any) -> Iterator[Any]:
    """The findings on rows that the newest step of a version added."""
    from studio.workshop import reports

    return reports.iterate_findings(Path(version.path) / reports.CHANGES, action="add")


def _part(text: str) -> dict[str, Any]:
    dataset, _, share = text.rpartition("=")
    try:
        return {"dataset": dataset, "share": float(share)}
    except ValueError:
        raise RefusedInput("cli.data.part", text=text) from None
