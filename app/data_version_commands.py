"""`luthier data ...`: versions of a data set, and sets going out of the studio and in."""

from pathlib import Path
from typing import Annotated

import typer

from app import client, show
from app.commands import AsJson, done, registry
from app.data_shown import plain, show_version, version_of
from studio.paths import workspace

app = typer.Typer()


@app.command("versions")
def data_versions(name: str, as_json: AsJson = False) -> None:
    """List the versions of a data set."""
    from studio.db import datasets

    with registry() as session:
        found = datasets.versions(session, name) or [datasets.dataset(session, name)]
    show.versions(found, as_json=as_json)


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
    document = {"name": name, "a": a, "b": b} | plain(reports.read_diff(folder)) | {"rows": plain(rows)}
    lines = [show.sentence("cli.data.diff", **document)]
    lines += [f"  {each.row}: {each.kind} {', '.join(each.fields)}".rstrip() for each in rows]
    show.lines(document, lines, as_json=as_json)


# -- out of the studio, and in -----------------------------------------------------------------------------------


@app.command("export")
def data_export(
    name: str,
    out: Path,
    format: Annotated[str | None, typer.Option(help="jsonl, parquet or csv; told by OUT's name if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set's usable rows, with a .dvc pointer and a manifest beside them."""
    from studio.workshop.versions.export import export

    made = plain(export(Path(version_of(name).path), out, format=format))
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
    show_version(into or name, as_json=as_json)


def _remote(text: str) -> str:
    """A folder is named from here, not from where the server stands."""
    return text if "://" in text else str(Path(text).expanduser().resolve())
