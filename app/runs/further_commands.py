"""`luthier jobs further | anew | smaller | slower | alarms | change`: how one goes on from a run, or tries it again."""

import json
from typing import Annotated, Any
from uuid import uuid4

import typer
import yaml

from app import client, show
from app.commands import AsJson, registry
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


@app.command("alarms")
def alarms(job: int, as_json: AsJson = False) -> None:
    """What goes wrong in a run that learns from pairs or rewards, and what to try."""
    from app.runs.alarm_words import document
    from studio.alarms.curves import read_curves
    from studio.alarms.watching import watch
    from studio.db import jobs

    with registry() as session:
        found = watch(read_curves(session, job), jobs.job(session, job).values)
    told = [document(alarm) for alarm in found]
    lines = [f"{each['title']}: {each['seen']} {json.dumps(each['changes'], ensure_ascii=False)}" for each in told]
    show.lines(told, lines, as_json=as_json)


@app.command("change")
def change(
    job: int,
    changes: Annotated[list[str], typer.Argument(help="One or two settings, as beta=0.003.")],
    as_json: AsJson = False,
) -> None:
    """Queue a run once more from its beginning, with one or two settings changed."""
    asked = {name: read_yaml_value(value) for name, _, value in (each.partition("=") for each in changes)}
    made = client.call(workspace(), "try_again", job_id=job, changes=asked, request_id=uuid4().hex)
    show.document({"id": made}, as_json=as_json)


def read_yaml_value(text: str) -> Any:
    """0.003 is a number, true a truth value, anything else a word."""
    return yaml.safe_load(text) if text else text
