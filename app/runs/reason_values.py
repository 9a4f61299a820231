"""What the reason of a run's end speaks of, by the names that pages use.

{"device": "cuda:1", "names": "dataset, lora_r"}  ->  {"device": "GPU 1", "names": "Data set, Size of the add-on"}
"""

from typing import Any

from app.context import Context
from studio.db.jobs import JobView
from studio.params.table import parameters

_PARTS = ("model", "config")


def reason_values(context: Context, job: JobView) -> dict[str, Any]:
    """The values for `errors.<reason>`."""
    values = dict(job.reason_values)
    if isinstance(values.get("device"), str):
        values["device"] = _device(context, values["device"])
    if job.reason == "job.resumed_otherwise":
        values["names"] = context.say("common.list_comma").join(_labels(context, job, str(values.get("names", ""))))
    return values


def _device(context: Context, device: str) -> str:
    return f"GPU {device.removeprefix('cuda:')}" if device.startswith("cuda:") else context.say("runs.further.here")


def _labels(context: Context, job: JobView, names: str) -> list[str]:
    known = {each.name: each.label(context.language) for each in parameters(job.method)} if job.method else {}
    parts = {name: context.say(f"runs.further.part.{name}") for name in _PARTS}
    return [(parts | known).get(name, name) for name in names.split(", ")]
