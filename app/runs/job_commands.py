"""`luthier jobs`: what runs, waits and ran, and what may be asked of it.

Looking reads the registry; asking goes through the server, and `--wait` follows the job to its end.
"""

import sys
from typing import Annotated, Any

import typer

from app import client, show
from app.commands import AsJson, Wait, followed, registry
from app.runs import commands
from studio.paths import Workspace, workspace
from studio.tokens import masked

app = typer.Typer(help="What runs, waits and ran.", invoke_without_command=True)
app.add_typer(commands.app)


@app.callback()
def without_command(context: typer.Context, as_json: AsJson = False) -> None:
    """What runs, waits and ran."""
    if context.invoked_subcommand is None:
        list_jobs(as_json=as_json)


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 30,
    everything: Annotated[bool, typer.Option("--all", help="Imports, inspections and serving too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs."""
    from studio.db import jobs

    with registry() as session:
        found = jobs.list_jobs(session, kinds=None if everything else ("train",), limit=limit)
    show.jobs(found, workspace(), as_json=as_json)


@app.command("show")
def show_one(job: int, as_json: AsJson = False) -> None:
    """Show one job."""
    show_job(workspace(), job, wait=False, as_json=as_json)


@app.command("stop")
def stop_job(
    job: int,
    now: Annotated[bool, typer.Option("--now", help="Do not save first.")] = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Save and stop a run, or cancel one that waits."""
    _do_and_show("stop", job, wait=wait, as_json=as_json, now=now)


@app.command("pause")
def pause_job(job: int, wait: Wait = False, as_json: AsJson = False) -> None:
    """Save a run and free the device until it is resumed."""
    _do_and_show("pause", job, wait=wait, as_json=as_json)


@app.command("resume")
def resume_job(job: int, wait: Wait = False, as_json: AsJson = False) -> None:
    """Go on from the newest checkpoint."""
    _do_and_show("resume", job, wait=wait, as_json=as_json)


@app.command("move")
def move_job(job: int, position: int, as_json: AsJson = False) -> None:
    """Move a waiting job to a place in the queue; 1 is next."""
    _do_and_show("move", job, wait=False, as_json=as_json, position=position)


@app.command("log")
def log_job(job: int, lines: Annotated[int, typer.Option(help="How many, from the end.")] = 60) -> None:
    """Print the end of a job's log."""
    from studio.db import jobs
    from studio.jobs.logs import tail

    with registry() as session:
        found = jobs.job(session, job)
    text = "\n".join(tail(workspace().attempt(job, found.attempt), lines))
    sys.stdout.write(show.plain(masked(workspace(), text)) + "\n")


@app.command("rm")
def remove_job(
    job: int,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Leave its folder where it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an ended job with its folder and checkpoints."""
    client.call(workspace(), "remove", job_id=job, keep_files=keep_files)
    line = "cli.forgotten" if keep_files else "cli.removed"
    show.document({"id": job, "removed": True}, as_json=as_json, line=line)


def _do_and_show(verb: str, job_id: int, *, wait: bool, as_json: bool, **arguments: Any) -> None:
    place = workspace()
    client.call(place, verb, job_id=job_id, **arguments)
    show_job(place, job_id, wait=wait, as_json=as_json)


def show_job(place: Workspace, job_id: int, *, wait: bool, as_json: bool) -> None:
    """A job as it stands, or as it ended; a run that came to nothing ends the program with 1."""
    from studio.db import checkpoints

    job = followed(place, job_id, on_change=None if as_json else show.progress) if wait else _job(job_id)
    with registry() as session:
        saved = checkpoints.list_checkpoints(session, job_id)
    show.job(job, saved, place, as_json=as_json)
    if wait and job.state not in ("succeeded", "stopped", "paused", "cancelled"):
        raise SystemExit(1)


def _job(job_id: int):
    from studio.db import jobs

    with registry() as session:
        return jobs.job(session, job_id)
