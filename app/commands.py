"""What commands share: reading the registry, following a job to its end, reading a person's files."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from app import client
from studio.db.engine import Reader
from studio.errors import Failure, RefusedInput
from studio.paths import Workspace, workspace

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end.")]
_INPUTS = ("data.", "model.", "spec.", "export.", "weights.", "cli.")


@contextmanager
def registry() -> Iterator[Any]:
    """A read-only session; a workspace without a registry gets an empty one first."""
    place = workspace()
    if not place.registry.exists():
        from studio.opening import open_studio

        open_studio(place).close()
    reader = Reader(place.registry)
    try:
        with reader.session() as session:
            yield session
    finally:
        reader.close()


def followed(place: Workspace, job_id: int, *, on_change: Callable[[Any], None] | None = None) -> Any:
    """The job once it has ended. Only follows: the job does not notice."""
    from studio.jobs.following import follow

    return follow(place, job_id, on_change=on_change, keep_server=lambda: client.ensure_server(place))


def done(verb: str, **arguments: Any) -> Any:
    """Have the desk queue a job, and follow it; None where the desk has its answer already.

    Raises:
        RefusedInput: the job ended because of what it was given.
        Failure: it ended otherwise.
    """
    place = workspace()
    job_id = client.call(place, verb, **arguments)
    if job_id is None:
        return None
    job = followed(place, job_id)
    raise_if_failed(job)
    return job


def raise_if_failed(job: Any) -> None:
    """A job that ended otherwise is its reason: a refused input where the input was at fault, else a failure."""
    if job.state != "succeeded":
        is_input = (job.reason or "").startswith(_INPUTS)
        raise (RefusedInput if is_input else Failure)(job.reason or "job.unexpected", **job.reason_values)


def read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        spec = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RefusedInput("cli.no_spec", file=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RefusedInput("cli.bad_yaml", file=str(path), detail=" ".join(str(error).split())) from None
    if not isinstance(spec, dict):
        raise RefusedInput("cli.spec_shape", file=str(path))
    return spec


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RefusedInput("cli.no_spec", file=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RefusedInput("cli.bad_json", file=str(path), detail=str(error)) from None
    if not isinstance(found, dict):
        raise RefusedInput("cli.edits_shape", file=str(path))
    return found


def read_lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise RefusedInput("cli.no_spec", file=str(path)) from None
