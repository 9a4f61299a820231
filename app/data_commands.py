"""`luthier data`: everything that the data page does, without a browser.

    luthier data clean support --json    {"name", "version", "rows_in", "rows_out", "steps": [
                                           {"step", "rows_in", "rows_out", "marked",
                                            "removed": [{"row", "code", "field", "reason"}], "changed": [...]}]}

What changes a data set goes through the server as a job that is followed here; what only reads opens the registry.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app import client, data_rows_commands, data_version_commands, show
from app.commands import AsJson, done, read_json, read_yaml, registry
from app.data_shown import MOST_PROBLEMS, ask_difficulty, plain, show_version, told, version_of
from app.label_commands import label_app
from studio.errors import RefusedInput, UnknownName
from studio.messages import say
from studio.paths import workspace
from studio.workshop.problems import unread_keys_text

app = typer.Typer(help="Import, check, clean and look after data sets.", no_args_is_help=True)
for group in (data_rows_commands.app, data_version_commands.app):
    app.add_typer(group)
app.add_typer(label_app, name="label")


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
    column: Annotated[
        list[str] | None, typer.Option(help="What a column is, as COLUMN=PART, such as question=prompt; may repeat.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the text, such as gb18030, if it is misread.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of rows and report those that cannot be used."""
    name, source = name or file.stem, str(file.expanduser().resolve())
    parts = dict(_part(text) for text in column or []) or None
    done("import_dataset", source=source, name=name, shape=shape, columns=parts, encoding=encoding)
    show_version(name, as_json=as_json)
    known = version_of(name).manifest["source"]
    if guessed := known.get("guessed_encoding"):
        sys.stderr.write(say("cli.data.guessed_encoding", encoding=guessed.upper()) + "\n")
    if unread := known.get("unread_keys"):
        sys.stderr.write(unread_keys_text(unread) + "\n")


@app.command("check")
def data_check(  # noqa: PLR0913 - what a check can be asked about besides
    name: Annotated[str, typer.Argument(help="A data set, NAME or NAME@VERSION, or a file.")],
    checks: Annotated[list[str] | None, typer.Option("--check", help="Run this check; may be given again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every check.")] = False,
    against: Annotated[str | None, typer.Option(help="A second data set that must not share rows.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Measure lengths in this model's tokens; with --check difficulty, ask it about every row."),
    ] = None,
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Squeeze the model that is asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a data set (or look at a file) with every row that cannot be used; and run checks over it."""
    try:
        version = version_of(name)
    except UnknownName:
        if Path(name).is_file():
            return _check_file(Path(name), as_json=as_json)
        raise
    chosen = None if everything else list(checks or []) + (["leakage"] if against and not checks else [])
    if chosen == []:
        return show_version(name, as_json=as_json)
    if model and chosen == ["difficulty"]:
        return _show_checks(version, ask_difficulty(name, model, load_in_4bit=load_in_4bit), as_json=as_json)
    from studio.workshop import recipe, reports

    done("check_dataset", name=name, checks=chosen, against=against, model=model)
    other = Path(version_of(against).path) if against else None
    asked = (list(recipe.checks(chosen, {})), {})
    folder = reports.find_check(workspace(), Path(version.path), *asked, against_folder=other, model=model)
    _show_checks(version, folder, as_json=as_json)


@app.command("rows")
def data_rows(  # noqa: PLR0913 - a filter each
    name: str,
    search: Annotated[str, typer.Option(help="Rows that hold this text, in any case.")] = "",
    split: Annotated[str, typer.Option(help="Rows of this side: train, validation or test.")] = "",
    category: Annotated[str, typer.Option(help="Rows of this category.")] = "",
    rating: Annotated[str, typer.Option(help="Rows rated high, middle or low in a round of labelling.")] = "",
    tag: Annotated[str, typer.Option(help="Rows with this tag.")] = "",
    row: Annotated[list[int] | None, typer.Option(help="This row; may be given again.")] = None,
    start: Annotated[int, typer.Option(help="Rows to pass over.")] = 0,
    count: Annotated[int, typer.Option(help="Rows to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print rows of a data set as training gets them, by search and filter."""
    from app.data import judged
    from studio.workshop.versions.finding import Wanted, find_rows
    from studio.workshop.versions.layout import spoken, trained

    version = version_of(name)
    numbers = tuple(row or ())
    if rating or tag:
        with registry() as session:
            like = judged.rows(session, version.name, rating=rating, tag=tag)
        numbers = tuple(number for number in like if number in numbers) or judged.NO_ROW if row else like
    wanted = Wanted(search=search, split=split, category=category, numbers=numbers)
    found = find_rows(Path(version.path), wanted, start=start, count=max(0, count))
    kept = ("split", "category", "origin")
    listed = [
        {"row": each.row, **trained(each, version.format), **{name: getattr(each, name) for name in kept}}
        for each in found.rows
    ]
    document = {"name": version.name, "version": version.version, "total": found.total, "has_more": found.has_more}
    lines = [f"{each.row}: {' / '.join(_texts(spoken(each, version.format)))}" for each in found.rows]
    show.lines(document | {"rows": listed}, lines, as_json=as_json)


@app.command("fix")
def data_fix(
    name: str,
    exclude: Annotated[list[int] | None, typer.Option(help="Row to leave out; may be given again.")] = None,
    edits: Annotated[Path | None, typer.Option(help="JSON file: row number -> the row as it should be.")] = None,
    mend: Annotated[str | None, typer.Option(help="Mend every row of this problem's code as proposed.")] = None,
    exclude_code: Annotated[str | None, typer.Option(help="Leave out every row of this problem's code.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mend or exclude rows; makes a new version."""
    from app.data.mending import mended_rows
    from studio.workshop.versions.problem_groups import problem_rows

    mended = {row: json.dumps(value, ensure_ascii=False) for row, value in read_json(edits).items()} if edits else {}
    out = list(exclude or [])
    if mend:
        mended |= mended_rows(Path(version_of(name).path), "open", mend)[0]
    if exclude_code:
        out += problem_rows(Path(version_of(name).path), "open", exclude_code)
    done("revise_dataset", name=name, edits=mended, exclude=out)
    show_version(name, as_json=as_json)


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
        version = version_of(name)
        return _show_cleaning(version, steps, Path(version.path) / "changes.parquet", as_json=as_json)
    from studio.workshop import recipe as recipes
    from studio.workshop import reports

    done("look_dataset", name=name, recipe=chosen)
    place, version = workspace(), version_of(name)
    folder = reports.find_look(place, Path(version.path), recipes.find(place, chosen))
    steps = [step for step in plain(reports.read_look(folder).steps) if step["enabled"]]
    _show_cleaning(version, steps, folder / reports.FINDINGS, as_json=as_json)


@app.command("teach")
def data_teach(name: str, as_json: AsJson = False) -> None:
    """Teach the quality check by what people marked; `quality_model` of the step `noise` takes the file it names."""
    from studio.workshop.labelling import taught

    done("teach_quality", name=name)
    found, file = taught.find(workspace(), version_of(name).name)
    show.document(plain(found) | {"quality_model": str(file)}, as_json=as_json)


@app.command("restore")
def data_restore(
    name: str,
    row: Annotated[list[int] | None, typer.Option(help="Row to bring back; may be given again.")] = None,
    code: Annotated[str | None, typer.Option(help="Bring back all rows of this reason.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring excluded rows back; makes a new version."""
    done("restore_rows", name=name, rows=row or [], code=code)
    show_version(name, as_json=as_json)


@app.command("recipes")
def data_recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep this YAML file under NAME.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the kept recipe NAME.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the cleaning recipes, show one, keep one, or delete one."""
    from studio.workshop import recipe as recipes

    if name and save:
        client.call(workspace(), "save_recipe", name=name, recipe=read_yaml(save))
    if name and remove:
        client.call(workspace(), "remove_recipe", name=name)
    elif name:
        return show.document(recipes.to_document(recipes.find(workspace(), name)), as_json=as_json)
    listed = [plain(each) for each in recipes.names(workspace())]
    show.lines(listed, (each["name"] for each in listed), as_json=as_json)


# -- what is shown -----------------------------------------------------------------------------------------------


def _check_file(file: Path, *, as_json: bool) -> None:
    from studio.workshop.converting.detect import preview

    show.preview(preview(file, original_name=file.name), file, as_json=as_json)


def _show_checks(version: Any, folder: Path, *, as_json: bool) -> None:
    from studio.workshop import reports

    found = reports.read_checks(folder)
    findings = list(told(reports.iterate_findings(folder / reports.FINDINGS), version))
    document = {"name": version.name, "version": version.version, "checks": found, "findings": findings}
    if reports.has_scores(folder):
        document["hardest"], _ = reports.read_scores(folder, start=0, count=MOST_PROBLEMS)
    lines = [f"{name}: {json.dumps(figures, ensure_ascii=False)}" for name, figures in found.items()]
    show.lines(document, lines + [f"  {each['reason']}" for each in findings], as_json=as_json)


def _show_cleaning(version: Any, steps: list[dict[str, Any]], table: Path, *, as_json: bool) -> None:
    """Each step with the rows that it took out and changed."""
    from studio.workshop import reports

    shown = []
    for step in steps:
        rows = {
            word: list(told(reports.iterate_findings(table, step=step["step"], action=action), version))
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
    if table.name == reports.FINDINGS:  # a look keeps what is only marked too
        document["to_look_at"] = list(told(reports.iterate_findings(table, action="mark"), version))
    show.lines(document, _cleaning_lines(document), as_json=as_json)


def _cleaning_lines(document: dict[str, Any]) -> Iterator[str]:
    yield show.sentence("cli.data.cleaned", **document)
    for step in document["steps"]:
        counts = {"removed": len(step["removed"]), "changed": len({each["row"] for each in step["changed"]})}
        yield show.sentence("cli.data.step", **step | counts)
        yield from (f"  {each['reason']}" for word in ("removed", "changed") for each in step[word])
    yield from (f"  {each['reason']}" for each in document.get("to_look_at", ()))


def _texts(said: list[tuple[str, list[dict[str, Any]]]]) -> Iterator[str]:
    return (turn.get("content") or "" for _, turns in said for turn in turns)


def _part(text: str) -> tuple[str, str]:
    """`question=prompt` -> `("question", "prompt")`; a column's name may hold an equals sign."""
    column, equals, part = text.rpartition("=")
    if not equals:
        raise RefusedInput("cli.data.column", text=text)
    return column, part


def _recipe(text: str | None) -> str | dict[str, Any] | None:
    """A YAML file's content, or the name of a recipe."""
    if text is None or not (text.endswith((".yaml", ".yml")) or Path(text).is_file()):
        return text
    return read_yaml(Path(text))
