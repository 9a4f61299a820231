"""`luthier memory`: what a run would take, for a spec of this studio or for a bare config.json, and what would fit."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app.commands import read_json, registry
from app.memory_options import NAMED, Asked, asked
from studio.errors import RefusedInput
from studio.hardware import BF16_CAPABILITY, Gpu, Machine, read_machine
from studio.memory.activations import mode_of
from studio.memory.estimate import Estimate, Shapes, as_document, estimate
from studio.memory.inventory import Inventory
from studio.memory.layers import Mode
from studio.memory.survey import has_experts, known, survey
from studio.messages import say
from studio.params.table import effective_batch_size
from studio.paths import Workspace

SETTINGS = (
    "tuning",
    "dtype",
    "mixed_precision",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "per_device_eval_batch_size",
    "max_length",
    "packing",
    "gradient_checkpointing",
    "loss_kernel",
    "optim",
    "attn_implementation",
    "lora_r",
    "lora_target_modules",
)
"""What decides how much memory a run takes, in the order in which `--fit` prints it."""
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
    model, question = _seen(config, question, place)
    found = estimate(
        model,
        question.values,
        shapes=_shapes(question),
        machine=machine,
        stack=question.stack,
        method=question.method,
    )
    return _document(found, config, question, model, place)


def fit_config(config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine) -> dict[str, Any]:
    """The settings of largest throughput that fit, filled in as the form would be; what is given stays.

    Returns:
        `settings`, `fits`, `changed` (names that were not left as the form fills them in), `cuts_rows`,
        `too_large_by_bytes`, `largest` (each `name`, `bytes`, `knob`), and the estimate of these settings.

    Raises:
        RefusedInput: as `predict_config`.
    """
    question = _filled_in(config, question, place, machine)
    model = _survey(config, question, place)
    found = _fit(model, question, machine)
    settled = replace(question, values={**question.values, **found.values})
    if machine.gpu and not (model.profiles or model.is_llama_like):
        # No formula knows its layers: what was found is traced, and the search looks again.
        model, settled = _seen(config, settled, place)
        found = _fit(model, question, machine)
        settled = replace(question, values={**question.values, **found.values})
    return {
        "settings": {name: settled.values[name] for name in SETTINGS if name in settled.values},
        "fits": found.estimate.verdict == "fits",
        "changed": sorted(found.values),
        "cuts_rows": found.cuts_rows,
        "too_large_by_bytes": found.excess_bytes,
        "largest": [asdict(term) for term in found.largest],
        **_document(found.estimate, config, settled, model, place),
    }


def _filled_in(config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine) -> Asked:
    """With everything that was not said as the form would have it."""
    from studio.advisor.complete import complete
    from studio.advisor.facts import Facts

    model = _survey(config, question, place)
    said = question.of_table(question.given)
    values, _ = complete({**NAMED, **said}, Facts(machine=machine, inventory=model))
    return replace(question, values={**question.values, **values})


def _fit(model: Inventory, question: Asked, machine: Machine) -> Any:
    from studio.memory.fit import fit

    return fit(
        model,
        question.values,
        shapes=_shapes(question),
        machine=machine,
        chosen=question.given.keys(),
        stack=question.stack,
        wanted_batch=effective_batch_size(question.values),
    )


def _shapes(question: Asked) -> Shapes:
    """As long as the settings allow; of prompts, where the model writes the answers."""
    return Shapes(question.values.get("max_prompt_length") or question.values["max_length"])


def _seen(config: Mapping[str, Any], question: Asked, place: Workspace) -> tuple[Inventory, Asked]:
    """The inventory with what these settings need of it, traces included.

    Raises:
        RefusedInput: memory.unknown_layers.
    """
    if question.targets == ["all-linear"] and has_experts(config) and question.stack.has_fused_experts:
        # peft allows no dropout on experts that are one weight together.
        question = replace(question, values={**question.values, "lora_dropout": 0.0})
    if seen := known(config, cache=_cache(place)):
        _check_targets(question, seen)
        question = _attending(question, seen)
    mode = mode_of(question.values, stack=question.stack)
    model = _survey(config, question, place, modes=[mode] if mode else [])
    _check_targets(question, model)
    return model, _attending(question, model)


def _attending(question: Asked, model: Inventory) -> Asked:
    """With an attention kernel that the model has, unless one was named."""
    if "attn_implementation" in question.given or model.can_attend_with(question.values["attn_implementation"]):
        return question
    return replace(question, values={**question.values, "attn_implementation": "eager"})


def _check_targets(question: Asked, model: Inventory) -> None:
    unknown = [name for name in question.targets if name not in model.layer_names | {"all-linear"}]
    if unknown:
        there = ", ".join(sorted(model.layer_names))
        raise RefusedInput("memory.unknown_layers", names=", ".join(unknown), known=there)


def _cache(place: Workspace) -> Path:
    return place.cache / "surveys"


def _survey(config: Mapping[str, Any], question: Asked, place: Workspace, modes: Sequence[Mode] = ()) -> Inventory:
    targets = [tuple(question.targets)] if question.targets else []
    found = survey(config, cache=_cache(place), targets=targets, modes=modes)
    return found if question.stack.has_fused_experts else found.before_5()


def _document(
    found: Estimate, config: Mapping[str, Any], question: Asked, model: Inventory, place: Workspace
) -> dict[str, Any]:
    """As `as_document`, its notes in words, and with those that are about no figure."""
    document = worded(as_document(found))
    beside = []
    if question.stack.uncovered:
        beside.append(say("cli.memory.uncovered", versions=", ".join(question.stack.uncovered)))
    if question.ignored:
        beside.append(say("cli.memory.ignored", names=", ".join(question.ignored)))
    if config.get("quantization_config"):
        beside.append(say("cli.memory.quantised"))
    size, free = 2 * model.parameters, shutil.disk_usage(_existing(place.root)).free
    if size > free:
        beside.append(say("cli.memory.disk", size=_gib(size), free=_gib(free)))
    return document | {"notes": document["notes"] + beside}


def worded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with sentences in place of the codes of its notes."""
    return {**document, "notes": [say(f"memory.notes.{code}") for code in document.get("notes", ())]}


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


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
    gpu = Gpu(index=0, name=f"{_gib(size)}", total_bytes=size, free_bytes=size, capability=BF16_CAPABILITY)
    return Machine(cpu_count=8, ram_bytes=4 * size, ram_free_bytes=4 * size, gpus=(gpu,))


def lines(document: Mapping[str, Any]) -> list[str]:
    """For people: the settings where they were asked for, the peak, its parts from large to small, and the notes."""
    low, high = document["device_bytes"]
    parts = sorted(document["terms"].items(), key=lambda part: -part[1])
    knobs = {term["name"]: term["knob"] for term in document.get("largest", ())}
    return [
        *_settings_lines(document),
        f"{document['peak_phase']}: {_gib(document['allocated_bytes'])} ({_gib(low)} – {_gib(high)})",
        *(f"  {name}: {_gib(size)}" + (f"  <- {knobs[name]}" if knobs.get(name) else "") for name, size in parts),
        *document.get("notes", ()),
    ]


def _settings_lines(document: Mapping[str, Any]) -> list[str]:
    if "settings" not in document:
        return []
    verdict = say(f"cli.memory.{document['verdict']}", lack=_gib(document["too_large_by_bytes"]))
    cut = [say("cli.memory.cut", length=document["settings"]["max_length"])] if document["cuts_rows"] else []
    return [verdict, *cut, *(f"  {name}: {_shown(value)}" for name, value in document["settings"].items())]


def _shown(value: Any) -> str:
    return (
        ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
