"""`luthier pipeline run | list | show | stop | resume | next`: several stages in a row, each from the best before."""

from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from app import client, show
from app.commands import AsJson, read_yaml, registry
from studio.db import pipelines
from studio.errors import RefusedInput
from studio.paths import workspace

app = typer.Typer(help="Several stages in a row, each from the last one's best checkpoint.", no_args_is_help=True)
Number = Annotated[int, typer.Argument(help="A pipeline's number, as `luthier pipeline list` tells it.")]


@app.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="YAML: model_name_or_path, tuning, title, and stages, a spec each.")],
    as_json: AsJson = False,
) -> None:
    """Check and settle every stage, and queue the first."""
    title, stages = stages_in(read_yaml(file), file)
    number = client.call(workspace(), "train_pipeline", stages=stages, title=title, request_id=uuid4().hex)
    show.document({"id": number}, as_json=as_json)


def stages_in(asked: Any, file: Path) -> tuple[str, list[dict[str, Any]]]:
    """Title and stages of a file; what stands outside of `stages` holds for all of them.

    {"tuning": "lora", "stages": [{"dataset": "a"}, {"dataset": "b"}]}  ->  "", [{"tuning": "lora", "dataset": "a"}, …]

    Raises:
        RefusedInput: cli.no_stages.
    """
    stages = asked.get("stages") if isinstance(asked, dict) else None
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise RefusedInput("cli.no_stages", file=str(file))
    common = {name: value for name, value in asked.items() if name not in ("stages", "title")}
    return str(asked.get("title") or ""), [{**common, **stage} for stage in stages]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every pipeline, the newest first."""
    with registry() as session:
        found = pipelines.list_pipelines(session, limit=1000)
    if as_json:
        show.document({"pipelines": [pipelines.document(each) for each in found]}, as_json=True)
        return
    for each in found:
        typer.echo(f"{each.id}  {each.state}  {each.title}  ({len(each.stages)})")


@app.command("show")
def show_(number: Number, as_json: AsJson = False) -> None:
    """Its stages: what each learns, where it stands, its run."""
    with registry() as session:
        found = pipelines.view(session, number)
    if as_json:
        show.document(pipelines.document(found), as_json=True)
        return
    typer.echo(f"{found.id}  {found.state}  {found.title}")
    for stage in found.stages:
        run_number = stage.job if stage.job is not None else "-"
        score = "" if stage.score is None else f"  {stage.score:.4f}"
        typer.echo(f"  {stage.place + 1}  {stage.method}  {stage.dataset}  {stage.state}  {run_number}{score}")


@app.command("stop")
def stop(number: Number, as_json: AsJson = False) -> None:
    """Save and stop the stage that runs; no further one begins until it is resumed."""
    _ask("stop_pipeline", number, as_json=as_json)


@app.command("resume")
def resume(number: Number, as_json: AsJson = False) -> None:
    """Go on where it stands: the stage that stopped or failed, or the next one."""
    _ask("resume_pipeline", number, as_json=as_json)


@app.command("next")
def next_(number: Number, as_json: AsJson = False) -> None:
    """Begin the next stage with the best that the one before has saved, though that one did not succeed."""
    _ask("next_stage", number, as_json=as_json)


def _ask(verb: str, number: int, *, as_json: bool) -> None:
    client.call(workspace(), verb, pipeline=number)
    show.document({"id": number}, as_json=as_json)
