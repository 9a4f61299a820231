"""`luthier baseline`: the untouched model asked in several ways before a run, and what came of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from app import client, show
from app.commands import followed, raise_if_failed
from studio.errors import RefusedInput
from studio.evaluation import baseline
from studio.evaluation.baseline import BaselineReport, PromptResult
from studio.messages import say
from studio.paths import Workspace


def ask(place: Workspace, spec: dict[str, Any], options: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    """Have it asked, follow the job, and give the report as a document, with `answers`.

    Raises:
        RefusedInput: a fault in what was asked for.
        Failure: the job ended otherwise.
    """
    job_id = client.call(place, "baseline", spec=spec, **options)
    job = followed(place, job_id, on_change=None if as_json else show.progress)
    raise_if_failed(job)
    folder = Path(job.values["report"])
    report = msgspec.to_builtins(baseline.read(folder))
    for prompt in report["prompts"]:
        prompt["share"] = prompt["right"] / prompt["answered"] if prompt["right"] is not None else None
    return report | {"answers": msgspec.to_builtins(baseline.read_answers(folder))}


def lines(document: dict[str, Any]) -> Iterator[str]:
    """For people: a line a prompt, the best one marked, and what it means."""
    report = msgspec.convert(document, BaselineReport)
    for prompt in report.prompts:
        mark = "*" if prompt.kind == report.best else " "
        yield f"{mark} {prompt.kind:<10} {_told(prompt)}"
    yield say(f"cli.baseline.{report.verdict}")


def text_of(file: Path | None) -> str:
    """
    Raises:
        RefusedInput: it cannot be read as text.
    """
    if file is None:
        return ""
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise RefusedInput("cli.no_spec", file=str(file)) from None
    except (UnicodeDecodeError, OSError):
        raise RefusedInput("cli.baseline.no_text", file=str(file)) from None


def _told(prompt: PromptResult) -> str:
    if prompt.loss is None:
        return say("cli.baseline.does_not_fit")
    parts = [say("cli.baseline.loss", loss=f"{prompt.loss:.3f}")]
    if prompt.right is not None:
        parts.append(say("cli.baseline.right", right=prompt.right, count=prompt.answered))
    if prompt.follows is not None:
        parts.append(say("cli.baseline.follows", percent=round(100 * prompt.follows)))
    return ", ".join(parts)
