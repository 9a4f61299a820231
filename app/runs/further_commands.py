"""`luthier jobs further | smaller | slower`: how one goes on from a run that ended."""

from typing import Annotated
from uuid import uuid4

import typer

from app import client, show
from app.commands import AsJson
from studio.paths import workspace

app = typer.Typer()
"""Commands of `luthier jobs`; `app.runs.commands` adds them to its own."""


@app.command("further")
def further(
    checkpoint: Annotated[int, typer.Argument(help="A checkpoint's number, as `luthier checkpoints list` tells it.")],
    epochs: Annotated[float, typer.Option(help="Epochs more than its run was to have.")] = 0.0,
    learning_rate: Annotated[float | None, typer.Option(help="Another learning rate from there on.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a new run that goes on from a checkpoint, optimizer and place in the data included."""
    asked = {"checkpoint_id": checkpoint, "epochs": epochs, "learning_rate": learning_rate}
    made = client.call(workspace(), "go_on", **asked, request_id=uuid4().hex)
    show.document({"id": made}, as_json=as_json)


@app.command("smaller")
def smaller(job: int, as_json: AsJson = False) -> None:
    """Queue a run that ran out of memory again, with the next smaller setting."""
    client.call(workspace(), "try_smaller", job_id=job)
    show.document({"id": job}, as_json=as_json)


@app.command("slower")
def slower(job: int, as_json: AsJson = False) -> None:
    """Go on from the last checkpoint of a run whose loss was no number, at half the learning rate, as a new run."""
    made = client.call(workspace(), "try_slower", job_id=job, request_id=uuid4().hex)
    show.document({"id": made}, as_json=as_json)
