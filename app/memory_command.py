"""`luthier memory`: what a run would take, for a spec of this studio or for a bare config.json, and what would fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.commands import read_json, registry
from app.memory.documents import document_of, gib
from app.memory.fitted import fit_config
from app.memory.surveyed import seen_as, shapes_of
from app.memory_options import Asked, asked
from studio.errors import RefusedInput
from studio.hardware import BF16_CAPABILITY, Gpu, Machine, read_machine
from studio.memory.estimate import estimate
from studio.messages import say
from studio.paths import Workspace

_UNITS = {"": 2**30, "GIB": 2**30, "GB": 10**9, "MIB": 2**20, "MB": 10**6}


def answer(
    name: str, words: list[str], place: Workspace, *, gpu_memory: str | None = None, is_fitted: bool = False
) -> dict[str, Any]:
    """What `luthier memory --config` prints.

    Args:
        name: a config.json, the folder of a model, or a model's name in the studio.

    Raises:
        RefusedInput: no config of a model, settings that cannot be, or no size of a GPU.
    """
    machine = machine_with(gpu_memory) if gpu_memory else None
    config, question = config_of(name), asked(words)
    if is_fitted:
        return fit_config(config, question, place, machine or read_machine())
    return predict_config(config, question, place, machine)


def config_of(name: str) -> dict[str, Any]:
    """
    Raises:
        RefusedInput: nothing there, or no JSON object.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return read_json(path)
    from studio.db import models

    with registry() as session:
        known = models.list_models(session)
    found = next((each for each in known if name in (each.name, each.source, each.facts.get("hub_id"))), None)
    if found is None:
        names = ", ".join(each.name for each in known) or "–"
        raise RefusedInput("memory.no_config", name=name, known=names)
    return read_json(Path(found.path) / "config.json")


def predict_config(
    config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine | None = None
) -> dict[str, Any]:
    """The prediction for a model that is nowhere but in its config, at the longest rows that `max_length` allows.

    Args:
        machine: where it would run; without one there is no verdict.

    Raises:
        RefusedInput: no config of a model, or layers that it does not have.
    """
    model, question = seen_as(config, question, place)
    found = estimate(
        model,
        question.values,
        shapes=shapes_of(question),
        machine=machine,
        stack=question.stack,
        method=question.method,
    )
    return document_of(found, config, question, model, place)


def machine_with(gpu_memory: str) -> Machine:
    """A machine with one GPU of this size that computes in bfloat16: "24GiB", "24576 MiB", "24" (GiB), "24GB" (10^9).

    Raises:
        RefusedInput: no size of a GPU.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", gpu_memory)
    unit = _UNITS.get(found.group(2).upper()) if found else None
    size = int(float(found.group(1)) * unit) if unit else 0
    if not 2**27 <= size <= 2**43:
        raise RefusedInput("memory.odd_gpu_memory", value=gpu_memory)
    gpu = Gpu(index=0, name=f"{gib(size)}", total_bytes=size, free_bytes=size, capability=BF16_CAPABILITY)
    return Machine(cpu_count=8, ram_bytes=4 * size, ram_free_bytes=4 * size, gpus=(gpu,))


def lines(document: Mapping[str, Any]) -> list[str]:
    """For people: the settings where they were asked for, the peak, its parts from large to small, and the notes."""
    low, high = document["device_bytes"]
    parts = sorted(document["terms"].items(), key=lambda part: -part[1])
    knobs = {term["name"]: term["knob"] for term in document.get("largest", ())}
    return [
        *_settings_lines(document),
        f"{document['peak_phase']}: {gib(document['allocated_bytes'])} ({gib(low)} – {gib(high)})",
        *(f"  {name}: {gib(size)}" + (f"  <- {knobs[name]}" if knobs.get(name) else "") for name, size in parts),
        *document.get("notes", ()),
    ]


def _settings_lines(document: Mapping[str, Any]) -> list[str]:
    if "settings" not in document:
        return []
    verdict = say(f"cli.memory.{document['verdict']}", lack=gib(document["too_large_by_bytes"]))
    cut = [say("cli.memory.cut", length=document["settings"]["max_length"])] if document["cuts_rows"] else []
    return [verdict, *cut, *(f"  {name}: {_shown(value)}" for name, value in document["settings"].items())]


def _shown(value: Any) -> str:
    return (
        ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )
