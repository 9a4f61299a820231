"""`luthier`: the studio without a browser.

Commands that only look open the registry read-only; commands that change something talk to the server, which is
started if none runs (`app.client`). Exit code 0 is success (a check that finds problems is one), 2 a refused input with
a sentence on stderr, 1 a failure. With `--json` stdout holds one JSON document and nothing else.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from app import client, data_commands, show
from app.checkpoints import commands as checkpoint_commands
from app.commands import AsJson, Wait, followed, raise_if_failed, read_lines, read_yaml, registry
from app.pipelines import commands as pipeline_commands
from app.rewards import commands as reward_commands
from app.runs import commands as run_commands
from app.runs import job_commands
from app.settings import commands as token_commands
from studio.errors import RefusedInput, StudioError
from studio.paths import workspace

app = typer.Typer(no_args_is_help=False, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
models_app = typer.Typer(help="Models to train.", no_args_is_help=True)
checkpoints_app = typer.Typer(help="What runs have saved.", no_args_is_help=True)
for name, group in (
    ("data", data_commands.app),
    ("models", models_app),
    ("jobs", job_commands.app),
    ("checkpoints", checkpoints_app),
    ("pipeline", pipeline_commands.app),
    ("rewards", reward_commands.app),
    ("token", token_commands.app),
):
    app.add_typer(group, name=name)
app.command("export")(checkpoint_commands.export)
app.command("combine")(checkpoint_commands.combine)
app.command("backup")(run_commands.backup)
app.command("restore")(run_commands.restore)


def main() -> None:
    """The program's outer edge: every StudioError becomes a sentence and an exit code."""
    try:
        app()
    except StudioError as error:
        sys.stderr.write(error.message() + "\n")
        raise SystemExit(2 if isinstance(error, RefusedInput) else 1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


# -- the studio ------------------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def without_command(context: typer.Context) -> None:
    """A no-code studio for fine-tuning language models. Without a command, opens it."""
    if context.invoked_subcommand is None:
        ui()


@app.command()
def ui(  # noqa: PLR0913 - each argument is one option of the command
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine browsers log in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; the next free one if it is taken.")] = 7860,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password for browsers to log in with.")
    ] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further name of this machine in addresses.")] = None,
    upload_limit: Annotated[
        str | None, typer.Option(help="Largest file that the page takes; 20GB unless said.")
    ] = None,
    exit_when_idle: Annotated[bool, typer.Option("--exit-when-idle", help="Leave when nothing runs or waits.")] = False,
) -> None:
    """Open the studio, or the browser at the one that runs."""
    place = workspace()
    url = client.running_url(place)
    if url is not None and not no_browser:
        import webbrowser

        client.call(place, "stay")
        show.note("cli.runs_already", url=url)
        webbrowser.open(url)
        return
    from app import running
    from studio.hardware import sqlite_fact

    registry_keeper = sqlite_fact()
    if not registry_keeper.is_good:
        show.note(f"doctor.{registry_keeper.code}", **registry_keeper.values)
    wishes = running.Wishes(
        host=host,
        port=port,
        password=running.asked_password() if password else running.password_from(),
        allowed_hosts=tuple(allow_host or ()),
        upload_bytes=running.upload_bytes(upload_limit),
        open_browser=not no_browser,
        exit_when_idle=exit_when_idle,
    )
    running.run(place, wishes)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what works on this machine, what does not, and what to do."""
    from studio.hardware import doctor as examine

    show.facts(examine(workspace().root, measures=True), as_json=as_json)


# -- models ----------------------------------------------------------------------------------------------------------


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models."""
    from studio.db import models

    with registry() as session:
        show.models(models.list_models(session), as_json=as_json)


@models_app.command("add")
def models_add(
    path_or_id: str,
    name: Annotated[str | None, typer.Option(help="Name in the studio.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register the folder of a model, unpack a GGUF file, or fetch a model from the hub (owner/name)."""
    from studio.models.folder import packed_file

    place = workspace()
    folder = Path(path_or_id).expanduser()
    if folder.exists() and packed_file(folder):
        job = followed(place, client.call(place, "unpack_model", path=str(folder.resolve()), name=name))
        raise_if_failed(job)
        added = str(place.models / f"gguf-{job.id}")
    elif folder.exists():
        added = client.call(place, "add_model", path_or_id=str(folder.resolve()), name=name)
    else:
        job = followed(place, client.call(place, "fetch_model", model_id=path_or_id, name=name))
        raise_if_failed(job)
        added = str(place.models / f"hub-{job.id}")
    models_show(added, as_json=as_json)


@models_app.command("inspect")
def models_inspect(
    name: str,
    dataset: Annotated[str | None, typer.Option(help="Also measure this data set under its tokenizer.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model is made of, and how long a data set's rows are for it."""
    from studio.db import datasets, models

    place = workspace()
    job = client.call(place, "inspect", model=name, dataset=dataset)
    if job is not None:
        raise_if_failed(followed(place, job))
    with registry() as session:
        base = models.model(session, name)
        content = datasets.dataset(session, dataset).content_hash if dataset else None
        figures = models.inspection(session, base.content_hash, content)
    show.document({"model": base.name} | (figures or {}), as_json=as_json)


@models_app.command("show")
def models_show(name: str, as_json: AsJson = False) -> None:
    """Show one model."""
    from studio.db import models

    with registry() as session:
        show.document(asdict(models.model(session, name)), as_json=as_json)


# -- training and jobs -----------------------------------------------------------------------------------------------


@app.command()
def train(
    spec: Path,
    try_values: Annotated[
        list[str] | None, typer.Option("--try", help="Queue a run for each value: --try learning_rate=1e-4,2e-4")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="The one device that it may run on, cuda:1.")] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run. SPEC is YAML and needs only model_name_or_path and dataset; the rest is filled in."""
    place = workspace()
    # A question whose answer was lost is asked again: with the same number it is the same run.
    asked = {"spec": read_yaml(spec), "device": gpu, "request_id": uuid4().hex}
    if try_values:
        made = client.call(place, "train_grid", tried=run_commands.tried_values(try_values), **asked)
        show.document(made, as_json=as_json, line="cli.grid")
        return
    job_id = client.call(place, "train", **asked)
    job_commands.show_job(place, job_id, wait=wait, as_json=as_json)


@app.command()
def baseline(  # noqa: PLR0913 - each argument is one option of the command
    dataset: Annotated[str, typer.Option(help="Data set, NAME or NAME@VERSION.")],
    model: Annotated[str, typer.Option(help="The model to ask, untouched.")],
    spec: Annotated[Path | None, typer.Option(help="A spec, as for train: the run that is planned.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Ways to ask: plain,system,examples,retrieved,context.")] = None,
    system: Annotated[str, typer.Option(help="System prompt; without it one is made from the rows.")] = "",
    context: Annotated[Path | None, typer.Option(help="Text file to answer from.")] = None,
    rows: Annotated[int | None, typer.Option(help="At most so many rows are asked.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time for writing answers; 5 % of the forecast training time unless said.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the untouched model the validation rows in several ways before a run: perhaps a prompt is enough."""
    from app import baseline_command

    planned = (read_yaml(spec) if spec else {}) | {"dataset": dataset, "model_name_or_path": model}
    options = {"system": system, "context": baseline_command.text_of(context), "rows": rows, "seconds": seconds}
    options["kinds"] = [kind.strip() for kind in kinds.split(",") if kind.strip()] if kinds else None
    found = baseline_command.ask(workspace(), planned, options, as_json=as_json)
    show.lines(found, baseline_command.lines(found), as_json=as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def memory(  # noqa: PLR0913 - each argument is one option of the command
    context: typer.Context,
    spec: Annotated[Path | None, typer.Argument(help="A spec, as for train.")] = None,
    config: Annotated[
        str | None, typer.Option(help="A config.json, a model's folder or its name here; settings follow as options.")
    ] = None,
    gpu_memory: Annotated[str | None, typer.Option(help="With --config: on a GPU of this size, 24GiB.")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="With --config: print the quickest settings that fit.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="With SPEC: measure it with two steps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict a run's memory: `memory SPEC.yaml`, or `memory --config config.json --tuning qlora --max-length 2048`."""
    from app import memory_command, probe_command
    from app.memory import documents

    if config is not None:
        arguments = [*([str(spec)] if spec else []), *context.args]
        found = memory_command.answer(config, arguments, workspace(), gpu_memory=gpu_memory, is_fitted=fit)
    elif fit or gpu_memory:
        raise RefusedInput("memory.fit_of_what")
    elif spec is not None and probe:
        found = documents.worded(probe_command.measure(workspace(), read_yaml(spec)))
    elif spec is not None:
        found = documents.worded(client.call(workspace(), "predict", spec=read_yaml(spec)))
    else:
        raise RefusedInput("cli.memory_of_what")
    show.lines(found, memory_command.lines(found), as_json=as_json)


# -- checkpoints -----------------------------------------------------------------------------------------------------


@checkpoints_app.command("list")
def checkpoints_list(
    run: Annotated[int | None, typer.Option(help="Only those of this run.")] = None, as_json: AsJson = False
) -> None:
    """List every saved step."""
    from studio.db import checkpoints

    with registry() as session:
        show.checkpoints(checkpoints.list_checkpoints(session, run), as_json=as_json)


@app.command()
def compare(  # noqa: PLR0913 - each argument is one option of the command
    columns: Annotated[list[str], typer.Argument(help="Checkpoint numbers, and model names for untouched models.")],
    prompts: Annotated[Path, typer.Option(help="Text file, a question a line.")],
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 gives the likeliest answer.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same answers.")] = 42,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask several models the same questions and print the answers side by side."""
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "system": system}
    asked = read_lines(prompts)
    made = client.call(
        workspace(), "compare", columns=[_column(each) for each in columns], prompts=asked, settings=settings
    )
    show.comparison(_answered(made), as_json=as_json)


@app.command()
def chat(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint number, or model name for an untouched model.")],
    message: Annotated[str | None, typer.Option(help="Ask this and leave; without it, a conversation.")] = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a checkpoint."""
    place, conversation = workspace(), None
    for text in [message] if message is not None else iter(lambda: input("> ").strip(), ""):
        opening = {"column": _column(checkpoint)} if conversation is None else {}
        conversation = client.call(place, "chat", text=text, comparison=conversation, **opening)
        show.last_answer(_answered(conversation), as_json=as_json)


# -- what commands share ---------------------------------------------------------------------------------------------


def _answered(comparison_id: int):
    from studio.jobs.following import follow_comparison

    place = workspace()
    return follow_comparison(place, comparison_id, keep_server=lambda: client.ensure_server(place))


def _column(text: str) -> dict[str, Any]:
    return {"checkpoint": int(text)} if text.isdecimal() else {"model": text}


if __name__ == "__main__":
    main()
