"""`luthier data`: everything that the data page does, without a browser.

    luthier data clean support --json    {"name", "version", "rows_in", "rows_out", "steps": [
                                           {"step", "rows_in", "rows_out", "marked",
                                            "removed": [{"row", "code", "field", "reason"}], "changed": [...]}]}

What changes a data set goes through the server as a job that is followed here; what only reads opens the registry.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app import client, show
from app.commands import AsJson, done, read_json, read_yaml, registry
from studio.errors import RefusedInput, UnknownName
from studio.paths import workspace

app = typer.Typer(help="Import, check, clean and look after data sets.", no_args_is_help=True)

MOST_PROBLEMS = 10_000
Settings = Annotated[list[str] | None, typer.Option("--set", help="An option, as name=value; may be given again.")]


# -- importing and mending -------------------------------------------------------------------------------------------


@app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """List the data sets."""
    from studio.db import datasets

    with registry() as session:
        show.datasets(datasets.list_datasets(session), as_json=as_json)


@app.command("import")
def data_import(
    file: Path,
    name: Annotated[str, typer.Option(help="Name of the data set; a known one gets a new version.")] = "",
    shape: Annotated[str | None, typer.Option("--format", help="Shape of the rows, if it is not recognised.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the text, such as gb18030, if it is misread.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of rows and report those that cannot be used."""
    name = name or file.stem
    done("import_dataset", source=str(file.expanduser().resolve()), name=name, shape=shape, encoding=encoding)
    _show(name, as_json=as_json)


@app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A data set, NAME or NAME@VERSION, or a file.")],
    checks: Annotated[list[str] | None, typer.Option("--check", help="Run this check; may be given again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every check.")] = False,
    against: Annotated[str | None, typer.Option(help="A second data set that must not share rows.")] = None,
    model: Annotated[str | None, typer.Option(help="Measure lengths in this model's tokens.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a data set (or look at a file) with every row that cannot be used; and run checks over it."""
    try:
        version = _version(name)
    except UnknownName:
        if Path(name).is_file():
            return _check_file(Path(name), as_json=as_json)
        raise
    chosen = None if everything else list(checks or []) + (["leakage"] if against and not checks else [])
    if chosen == []:
        return _show(name, as_json=as_json)
    from studio.workshop import recipe, reports

    done("check_dataset", name=name, checks=chosen, against=against, model=model)
    other = Path(_version(against).path) if against else None
    asked = (list(recipe.checks(chosen, {})), {})
    folder = reports.find_check(workspace(), Path(version.path), *asked, against_folder=other, model=model)
    _show_checks(version, folder, as_json=as_json)


@app.command("fix")
def data_fix(
    name: str,
    exclude: Annotated[list[int] | None, typer.Option(help="Row to leave out; may be given again.")] = None,
    edits: Annotated[Path | None, typer.Option(help="JSON file: row number -> the row as it should be.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mend or exclude rows; makes a new version."""
    mended = {row: json.dumps(value, ensure_ascii=False) for row, value in read_json(edits).items()} if edits else {}
    done("revise_dataset", name=name, edits=mended, exclude=exclude or [])
    _show(name, as_json=as_json)


# -- cleaning --------------------------------------------------------------------------------------------------------


@app.command("clean")
def data_clean(
    name: str,
    recipe: Annotated[str | None, typer.Option(help="A YAML file or a recipe's name; recommended if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Clean a data set by a recipe; makes a new version and tells every row that it took out or changed."""
    chosen = _recipe(recipe)
    if not dry_run:
        steps = done("clean_dataset", name=name, recipe=chosen).figures["steps"]
        version = _version(name)
        return _show_cleaning(version, steps, Path(version.path) / "changes.parquet", as_json=as_json)
    from studio.workshop import recipe as recipes
    from studio.workshop import reports

    done("look_dataset", name=name, recipe=chosen)
    place, version = workspace(), _version(name)
    folder = reports.find_look(place, Path(version.path), recipes.find(place, chosen))
    steps = [step for step in _plain(reports.read_look(folder).steps) if step["enabled"]]
    _show_cleaning(version, steps, folder / reports.FINDINGS, as_json=as_json)


@app.command("restore")
def data_restore(
    name: str,
    row: Annotated[list[int] | None, typer.Option(help="Row to bring back; may be given again.")] = None,
    code: Annotated[str | None, typer.Option(help="Bring back all rows of this reason.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring excluded rows back; makes a new version."""
    done("restore_rows", name=name, rows=row or [], code=code)
    _show(name, as_json=as_json)


@app.command("recipes")
def data_recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep this YAML file under NAME.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the cleaning recipes, show one, or keep one."""
    from studio.workshop import recipe as recipes

    if name and save:
        client.call(workspace(), "save_recipe", name=name, recipe=read_yaml(save))
    if name:
        return show.document(recipes.to_document(recipes.find(workspace(), name)), as_json=as_json)
    listed = [_plain(each) for each in recipes.names(workspace())]
    show.lines(listed, (each["name"] for each in listed), as_json=as_json)


# -- splitting, mixing, balancing ------------------------------------------------------------------------------------


@app.command("split")
def data_split(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Tell rows apart for training, validation and test; makes a new version."""
    job = done("split_dataset", name=name, options=_settings(settings))
    manifest = job.figures["manifest"]
    version = _version(name)
    document = {"name": version.name, "version": version.version, "rows": version.rows, "splits": manifest["splits"]}
    show.document(document, as_json=as_json)


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
    version = _version(into or name)
    taken = job.figures["manifest"]["steps"][-1]["parameters"]["parts"]
    document = {"name": version.name, "version": version.version, "rows": version.rows, "parts": taken}
    show.document(document, as_json=as_json)


@app.command("balance")
def data_balance(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Repeat rows of small classes; makes a new version."""
    done("balance_dataset", name=name, options=_settings(settings))
    _show(name, as_json=as_json)


@app.command("order")
def data_order(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Score how hard each row is, for a curriculum; makes a new version."""
    done("order_dataset", name=name, options=_settings(settings))
    _show(name, as_json=as_json)


# -- more rows -------------------------------------------------------------------------------------------------------


@app.command("augment")
def data_augment(name: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Add rows whose question says the same in other words (under 1,000 rows only); makes a new version."""
    added = done("augment_dataset", name=name, options=_settings(settings)).figures["added"]
    version = _version(name)
    rows = list(_told(_added(version)))
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

    asked = {"model": _asked(model), "kind": kind, "judges": [_asked(each) for each in judge or []]}
    job = done("write_rows", name=name, options=_settings(settings), **asked)
    folder = Path(job.figures["report"])
    report = _plain(written.read_report(folder))
    candidates = written.read_candidates(folder, count=written.MOST_CANDIDATES)
    document = {"report": str(folder), **report, "rows": _plain(candidates)}
    lines = [show.sentence("data.written.label"), show.sentence("data.written.told", **report), str(folder)]
    lines += [f"  {each.number}: {each.message() or each.prompt + ' / ' + each.answer}" for each in candidates]
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
    version = _version(into or name)
    counts = {each: figures[each] for each in ("added", "left_out")}
    document = {"name": version.name, "version": version.version, "rows": version.rows} | counts
    line = show.sentence("cli.data.added.taken", **document)
    show.lines(document, [line], as_json=as_json)


# -- versions --------------------------------------------------------------------------------------------------------


@app.command("versions")
def data_versions(name: str, as_json: AsJson = False) -> None:
    """List the versions of a data set."""
    from studio.db import datasets

    with registry() as session:
        found = datasets.versions(session, name) or [datasets.dataset(session, name)]
    show.datasets(found, as_json=as_json)


@app.command("rollback")
def data_rollback(name: str, version: int, as_json: AsJson = False) -> None:
    """Go back to an earlier version of a data set."""
    client.call(workspace(), "rollback_dataset", name=name, version=version)
    data_versions(name, as_json=as_json)


@app.command("note")
def data_note(name: str, version: int, words: str, as_json: AsJson = False) -> None:
    """Write a few words beside a version."""
    client.call(workspace(), "note_version", name=name, version=version, note=words)
    data_versions(name, as_json=as_json)


@app.command("diff")
def data_diff(
    name: str,
    a: int,
    b: int,
    limit: Annotated[int, typer.Option(help="Rows to print.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: rows added, removed and changed."""
    from studio.db import datasets
    from studio.workshop import reports

    done("diff_datasets", name=name, a=a, b=b)
    with registry() as session:
        first, second = (Path(datasets.dataset(session, name, number).path) for number in (a, b))
    folder = reports.find_diff(workspace(), first, second)
    rows = reports.read_diff_rows(folder, start=0, count=limit)
    document = {"name": name, "a": a, "b": b} | _plain(reports.read_diff(folder)) | {"rows": _plain(rows)}
    lines = [show.sentence("cli.data.diff", **document)]
    lines += [f"  {each.row}: {each.kind} {', '.join(each.fields)}".rstrip() for each in rows]
    show.lines(document, lines, as_json=as_json)


# -- out of the studio, and in ---------------------------------------------------------------------------------------


@app.command("export")
def data_export(
    name: str,
    out: Path,
    format: Annotated[str | None, typer.Option(help="jsonl, parquet or csv; told by OUT's name if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set's usable rows, with a .dvc pointer and a manifest beside them."""
    from studio.workshop.versions.export import export

    made = _plain(export(Path(_version(name).path), out, format=format))
    lines = [show.sentence("cli.exported", **made)]
    if made["defused"]:
        lines.append(show.sentence("cli.data.defused", **made))
    show.lines(made, lines, as_json=as_json)


@app.command("push")
def data_push(name: str, remote: str, as_json: AsJson = False) -> None:
    """Send a version to a folder or object store, laid out as a DVC remote."""
    job = done("push_dataset", name=name, remote=_remote(remote))
    show.document(job.figures, as_json=as_json, line="cli.data.pushed")


@app.command("pull")
def data_pull(
    remote: str,
    name: str,
    version: Annotated[int | None, typer.Option(help="Version as pushed; the newest if left out.")] = None,
    into: Annotated[str | None, typer.Option(help="Name of the data set here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a pushed version as a new version of a data set."""
    done("pull_dataset", remote=_remote(remote), name=name, version=version, into=into)
    _show(into or name, as_json=as_json)


# -- what these commands share ---------------------------------------------------------------------------------------


def _version(name: str) -> Any:
    from studio.db import datasets

    with registry() as session:
        return datasets.dataset(session, name)


def _show(name: str, *, as_json: bool) -> None:
    from studio.workshop.versions.reader import read_problems

    version = _version(name)
    show.dataset(version, read_problems(Path(version.path), start=0, count=MOST_PROBLEMS), as_json=as_json)


def _check_file(file: Path, *, as_json: bool) -> None:
    from studio.workshop.converting.detect import preview

    show.preview(preview(file, original_name=file.name), file, as_json=as_json)


def _show_checks(version: Any, folder: Path, *, as_json: bool) -> None:
    from studio.workshop import reports

    found = reports.read_checks(folder)
    findings = list(_told(reports.iterate_findings(folder / reports.FINDINGS)))
    document = {"name": version.name, "version": version.version, "checks": found, "findings": findings}
    lines = [f"{name}: {json.dumps(figures, ensure_ascii=False)}" for name, figures in found.items()]
    show.lines(document, lines + [f"  {each['reason']}" for each in findings], as_json=as_json)


def _show_cleaning(version: Any, steps: list[dict[str, Any]], table: Path, *, as_json: bool) -> None:
    """Each step with the rows that it took out and changed."""
    from studio.workshop import reports

    shown = []
    for step in steps:
        rows = {
            word: list(_told(reports.iterate_findings(table, step=step["step"], action=action)))
            for word, action in (("removed", "remove"), ("changed", "change"))
        }
        shown.append({name: step[name] for name in ("step", "rows_in", "rows_out", "marked")} | rows)
    document = {
        "name": version.name,
        "version": version.version,
        "rows_in": steps[0]["rows_in"] if steps else version.rows,
        "rows_out": steps[-1]["rows_out"] if steps else version.rows,
        "steps": shown,
    }
    show.lines(document, _cleaning_lines(document), as_json=as_json)


def _cleaning_lines(document: dict[str, Any]) -> Iterator[str]:
    yield show.sentence("cli.data.cleaned", **document)
    for step in document["steps"]:
        counts = {"removed": len(step["removed"]), "changed": len({each["row"] for each in step["changed"]})}
        yield show.sentence("cli.data.step", **step | counts)
        yield from (f"  {each['reason']}" for word in ("removed", "changed") for each in step[word])


def _told(findings: Iterator[Any]) -> Iterator[dict[str, Any]]:
    for each in findings:
        told = {"row": each.row, "step": each.step, "code": each.code, "field": each.field, "reason": each.message()}
        yield told | ({"before": each.before, "after": each.after} if each.action == "add" else {})


def _added(version: Any) -> Iterator[Any]:
    """The findings on rows that the newest step of a version added."""
    from studio.workshop import reports

    return reports.iterate_findings(Path(version.path) / reports.CHANGES, action="add")


def _asked(text: str) -> str | dict[str, Any]:
    """A model by its name, or a checkpoint by its number."""
    return {"checkpoint": int(text)} if text.isdecimal() else text


def _recipe(text: str | None) -> str | dict[str, Any] | None:
    """A YAML file's content, or the name of a recipe."""
    if text is None or not (text.endswith((".yaml", ".yml")) or Path(text).is_file()):
        return text
    return read_yaml(Path(text))


def _settings(given: list[str] | None) -> dict[str, Any]:
    """name=value pairs; a value is read as YAML, so that 0.2 is a number and true a switch."""
    import yaml

    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise RefusedInput("cli.data.setting", text=text)
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[name.strip()] = value
    return found


def _part(text: str) -> dict[str, Any]:
    dataset, _, share = text.rpartition("=")
    try:
        return {"dataset": dataset, "share": float(share)}
    except ValueError:
        raise RefusedInput("cli.data.part", text=text) from None


def _remote(text: str) -> str:
    """A folder is named from here, not from where the server stands."""
    return text if "://" in text else str(Path(text).expanduser().resolve())


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
