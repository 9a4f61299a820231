"""`luthier jobs further | anew | smaller | slower`: how one goes on from a run that ended."""

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


@app.command("anew")
def anew(  # noqa: PLR0913 - each argument is one option of the command
    checkpoint: Annotated[int, typer.Argument(help="A checkpoint's number, as `luthier checkpoints list` tells it.")],
    dataset: Annotated[str | None, typer.Option(help="Other rows, NAME or NAME@VERSION.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs of the new run.")] = None,
    steps: Annotated[int | None, typer.Option(help="Or its steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Its seed.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows at once.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Batches an update.")] = None,
    keep: Annotated[str | None, typer.Option(help="How it keeps the old rows: replay, ewc or si.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a new run that begins with a checkpoint's weights and nothing else of it."""
    wished = {
        "continual": keep,
        "num_train_epochs": epochs,
        "max_steps": steps if epochs is None else -1,
        "learning_rate": learning_rate,
        "seed": seed,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
    }
    changes = {name: value for name, value in wished.items() if value is not None}
    asked = {"checkpoint_id": checkpoint, "dataset": dataset, "changes": changes}
    show.document({"id": client.call(workspace(), "begin_anew", **asked, request_id=uuid4().hex)}, as_json=as_json)


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
