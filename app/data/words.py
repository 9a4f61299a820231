"""Words for what was done to a data set: a version's steps, a reason for which rows were taken out."""

from typing import Any

from app.context import Context
from studio.db.datasets import DatasetSummary
from studio.messages import has


def what_was_done(context: Context, version: DatasetSummary, parent: DatasetSummary | None) -> str:
    """`imported from a.jsonl`; `cleaned: duplicates (-1,040), noise (-2)`."""
    steps = version.manifest.get("steps", [])
    own = (steps[len(parent.manifest.get("steps", [])) :] if parent else steps) or steps[-1:]
    telling = [step for step in own if _did_something(step)]
    if own and not telling:
        return context.say("data.step.nothing")
    shown = [_step(context, version, step) for step in telling]
    return context.say("common.list_comma").join(shown) if shown else context.say("data.step.import", file="–")


def _did_something(step: dict[str, Any]) -> bool:
    """A cleaning step that found nothing is not worth a word."""
    return "counts" not in step.get("parameters", {}) or bool(step["parameters"]["counts"])


def _step(context: Context, version: DatasetSummary, step: dict[str, Any]) -> str:
    operation, parameters = step["operation"], step.get("parameters", {})
    if has(f"data.clean.step.{operation}.title"):
        title = context.say(f"data.clean.step.{operation}.title")
        out = step["rows_in"] - step["rows_out"]
        return context.say("data.step.cleaned", step=title, count=out) if out > 0 else title
    if not has(f"data.step.{operation}"):
        return operation
    file = version.manifest.get("source", {}).get("file", "–")
    return context.say(f"data.step.{operation}", file=file, count=_rows_named(step, parameters))


def _rows_named(step: dict[str, Any], parameters: dict[str, Any]) -> int:
    rows = parameters.get("rows")
    return len(rows) if isinstance(rows, list) else abs(step["rows_out"] - step["rows_in"])


def origin(context: Context, text: str) -> str:
    """How a row came to be: `augment:written:starter:17` -> `written by starter`."""
    kind, _, rest = text.removeprefix("augment:").partition(":")
    key = f"data.origin.{kind}"
    return context.say(key, source=rest.rpartition(":")[0]) if has(key) else kind


def kind(context: Context, code: str) -> str:
    """A short name of a problem's or finding's code; its last part where it has none."""
    for key in (f"data.kind.{code}", f"data.found.{code}"):
        if has(key):
            return context.say(key)
    return code.rpartition(".")[2].replace("_", " ")
