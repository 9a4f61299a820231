"""`luthier export` and `luthier combine`: what a run has learned as files, and several adapters as one."""

from typing import Annotated, Any

import typer

from app import client, show
from app.commands import AsJson, Wait, followed, registry, workspace
from studio.errors import RefusedInput


def export(
    checkpoint: Annotated[int, typer.Argument(help="Number of the checkpoint.")],
    merge: Annotated[bool, typer.Option("--merge", help="Make the adapter part of the base model.")] = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Put a checkpoint into a folder that transformers or peft read; no other program reads a bottleneck adapter's."""
    place = workspace()
    _show(client.call(place, "export_checkpoint", checkpoint=checkpoint, merge=merge), wait=wait, as_json=as_json)


def combine(
    parts: Annotated[list[str], typer.Argument(help="Checkpoints with their weights: 3=0.7 5=0.3.")],
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make one adapter of several on the same base model."""
    weights = {number: weight for number, weight in map(_part, parts)}
    _show(client.call(workspace(), "combine_checkpoints", weights=weights), wait=wait, as_json=as_json)


def _part(text: str) -> tuple[str, float]:
    number, _, weight = text.partition("=")
    try:
        return str(int(number)), float(weight or 1)
    except ValueError:
        raise RefusedInput("weights.combine_part", given=text) from None


def _show(job_id: int, *, wait: bool, as_json: bool) -> None:
    from studio.db import checkpoints, jobs

    place = workspace()
    if wait:
        job: Any = followed(place, job_id, on_change=None if as_json else show.progress)
    else:
        with registry() as session:
            job = jobs.job(session, job_id)
    with registry() as session:
        saved = checkpoints.list_checkpoints(session, job_id)
    show.job(job, saved, place, as_json=as_json)
    if wait and job.state != "succeeded":
        raise SystemExit(1)
