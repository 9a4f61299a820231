"""What the data commands share: a version by its name, a finding as JSON, options given as name=value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app import show
from app.commands import done, registry
from studio.errors import RefusedInput
from studio.paths import workspace
from studio.workshop.members import in_member, within

MOST_PROBLEMS = 10_000
Settings = Annotated[list[str] | None, typer.Option("--set", help="An option, as name=value; may be given again.")]


def version_of(name: str) -> Any:
    from studio.db import datasets

    with registry() as session:
        return datasets.dataset(session, name)


def show_version(name: str, *, as_json: bool) -> None:
    from studio.workshop.versions.reader import read_problems

    version = version_of(name)
    show.dataset(version, read_problems(Path(version.path), start=0, count=MOST_PROBLEMS), as_json=as_json)


def told(findings: Iterator[Any], version: Any) -> Iterator[dict[str, Any]]:
    """Findings as JSON; a row of an archive is named by its file and line too."""
    for each in findings:
        place = within(version.manifest["source"], each.row)
        reason = in_member(each.message(), place)
        told = {"row": each.row, "step": each.step, "code": each.code, "field": each.field, "reason": reason}
        told |= {name: place[name] for name in ("member", "member_row") if place}
        yield told | ({"before": each.before, "after": each.after} if each.action == "add" else {})


def as_options(given: list[str] | None) -> dict[str, Any]:
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


def asked(text: str) -> str | dict[str, Any]:
    """A model by its name, or a checkpoint by its number."""
    return {"checkpoint": int(text)} if text.isdecimal() else text


def ask_difficulty(name: str, model: str, *, load_in_4bit: bool) -> Path:
    """The report of the check `difficulty` with a model's losses; the model is asked unless it was before."""
    from studio.desk_scoring import difficulty_place, scorer_of

    done("check_difficulty", name=name, model=asked(model), load_in_4bit=load_in_4bit)
    with registry() as session:
        scorer = scorer_of(session, asked(model), load_in_4bit=load_in_4bit)
    return difficulty_place(workspace(), version_of(name), scorer)


def plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
