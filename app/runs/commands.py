"""`luthier jobs ...` for the queue and for keeping runs, and `luthier backup` and `restore`.

Names of the functions are names of commands; each talks to the desk through the server, or reads the registry.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app import client, show
from app.commands import AsJson, registry
from app.i18n import bytes_text
from app.runs import further_commands
from app.runs.waiting_words import wait_words
from studio.errors import RefusedInput
from studio.messages import say
from studio.paths import workspace

app = typer.Typer()
"""Commands of `luthier jobs`; `app.cli` adds them to its own."""
app.add_typer(further_commands.app)


@app.command("queue")
def queue(
    start: Annotated[
        str | None, typer.Option(help="When waiting runs start: now, by_hand, or not before a time of day (22:30).")
    ] = None,
    after_failure: Annotated[
        str | None, typer.Option(help="What a failed run means for those behind it: go_on or hold.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits for what, in order; say when waiting runs start."""
    place = workspace()
    if after_failure not in (None, "go_on", "hold"):
        raise RefusedInput("queue.after_failure", given=after_failure)
    if start is not None or after_failure is not None:
        holds = None if after_failure is None else after_failure == "hold"
        client.call(place, "rule_queue", start=start, holds_after_failure=holds)
    found = _queue()
    show.lines(found, _queue_lines(found), as_json=as_json)


def _queue() -> dict[str, Any]:
    from dataclasses import asdict

    from studio.db import jobs
    from studio.db import queue as queue_rules
    from studio.hardware import read_machine
    from studio.jobs import queueing

    with registry() as session:
        waits = queueing.look(session, read_machine().devices).waits
        rules = asdict(queue_rules.rules(session))
        waiting = jobs.waiting(session)
    listed = [
        {
            "id": each.id,
            "title": each.title,
            "kind": each.kind,
            "waits_for": waits[each.id].code,
            "values": waits[each.id].values,
            "message": wait_words(waits[each.id], "en"),
        }
        for each in waiting
    ]
    return {"rules": rules, "waiting": listed}


def _queue_lines(found: dict[str, Any]) -> list[str]:
    rows = [
        f"{place}  {each['id']} · {each['title']}: {each['message']}" for place, each in enumerate(found["waiting"], 1)
    ]
    return rows or [say("cli.queue_empty")]


@app.command("again")
def again(job: int, as_json: AsJson = False) -> None:
    """Queue the same run once more, with the very same values."""
    from uuid import uuid4

    made = client.call(workspace(), "duplicate", job_id=job, request_id=uuid4().hex)
    show.document({"id": made}, as_json=as_json)


@app.command("gpu")
def gpu(job: int, device: str, as_json: AsJson = False) -> None:
    """Have a waiting run wait for one device (cuda:1), or for any."""
    client.call(workspace(), "set_device", job_id=job, device=None if device == "any" else device)
    show.document({"id": job, "device": device}, as_json=as_json)


@app.command("edit")
def edit(
    job: int,
    title: Annotated[str | None, typer.Option(help="Another name.")] = None,
    tags: Annotated[str | None, typer.Option(help="Its tags, with commas between them; empty for none.")] = None,
    note: Annotated[str | None, typer.Option(help="A note; empty for none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rename a run, tag it, note something about it."""
    from studio.db import jobs, runs

    place = workspace()
    if title is not None:
        client.call(place, "rename", job_id=job, title=title)
    if tags is not None:
        client.call(place, "tag_run", job_id=job, tags=[each.strip() for each in tags.split(",") if each.strip()])
    if note is not None:
        client.call(place, "note_run", job_id=job, text=note)
    with registry() as session:
        known = {"id": job, "title": jobs.job(session, job).title, "tags": runs.tags_of(session, [job]).get(job, [])}
        show.document(known | {"note": runs.note_of(session, job)}, as_json=as_json)


@app.command("archive")
def archive(
    job: int,
    back: Annotated[bool, typer.Option("--back", help="Bring it back into the list.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take an ended run out of the list; nothing is deleted."""
    client.call(workspace(), "archive", job_id=job, archived=not back)
    show.document({"id": job, "archived": not back}, as_json=as_json)


@app.command("free")
def free(job: int, as_json: AsJson = False) -> None:
    """Delete an ended run's checkpoints; its curves, settings and log stay."""
    client.call(workspace(), "free_space", job_id=job)
    show.document({"id": job, "freed": True}, as_json=as_json)


@app.command("find")
def find(
    text: Annotated[str, typer.Argument(help="In the name, a tag, a note, model, data set; or the number.")] = "",
    state: Annotated[str, typer.Option(help="succeeded, failed, running, ...")] = "",
    tag: Annotated[str, typer.Option(help="Only runs with this tag.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Those put away.")] = False,
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Find runs."""
    from studio.db import runs

    with registry() as session:
        wanted = runs.Wanted(text=text, state=state, tag=tag, is_archived=archived)
        found = runs.find_runs(session, wanted, limit=limit)
    show.jobs(found.runs, workspace(), as_json=as_json)


# -- the registry ----------------------------------------------------------------------------------------------------


def backup(file: Path, as_json: AsJson = False) -> None:
    """Write a backup of the registry (runs, curves, marks, settings) to FILE; the studio may be open."""
    from studio.db.backup import back_up

    place = workspace()
    size = back_up(place, file.expanduser().absolute())
    values = {"file": str(file), "bytes": size, "size": bytes_text(size), "folder": str(place.root)}
    show.document(values, as_json=as_json, line="cli.backup.written")


def restore(file: Path, as_json: AsJson = False) -> None:
    """Put a backup in the registry's place; the studio must be closed. What was there is kept."""
    from studio.db.backup import restore as put_back

    found = put_back(workspace(), file.expanduser().absolute())
    values = {
        "file": str(file),
        "runs": found.runs,
        "kept": str(found.kept) if found.kept else None,
        "aside": str(found.set_aside) if found.set_aside else None,
        "ended": found.ended,
    }
    lines = [say("cli.backup.restored", **values)]
    lines += [say(f"cli.backup.{name}", **values) for name in ("kept", "aside") if values[name]]
    if found.ended:
        lines.append(say("cli.backup.ended", jobs=", ".join(map(str, found.ended))))
    show.lines(values, lines, as_json=as_json)


def tried_values(given: list[str]) -> dict[str, list[Any]]:
    """`["learning_rate=1e-4,2e-4"]` -> {"learning_rate": [0.0001, 0.0002]}.

    Raises:
        RefusedInput: no setting of this name, or no value of it.
    """
    from studio.params.grid import values_of
    from studio.params.table import every_parameter

    known = every_parameter()
    found = {}
    for each in given:
        name, _, typed = each.partition("=")
        if name not in known or not typed:
            raise RefusedInput("grid.option", given=json.dumps(each))
        found[name] = values_of(known[name], typed)
    return found
