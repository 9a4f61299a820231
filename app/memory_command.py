"""`luthier memory`: what a run would take, for a spec of this studio or for a bare config.json, and what would fit."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from studio.errors import Fault, RefusedInput, SpecRefused
from studio.hardware import BF16_CAPABILITY, Gpu, Machine, read_machine
from studio.memory.estimate import Shapes, as_document, estimate
from studio.memory.inventory import from_config
from studio.messages import say
from studio.params.table import check, effective_batch_size, parameters

NAMED = {"model_name_or_path": "-", "dataset": "-"}
"""A bare config has neither, and the table wants both."""
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
    config: Mapping[str, Any], arguments: list[str], *, gpu_memory: str | None = None, is_fitted: bool = False
) -> dict[str, Any]:
    """What `luthier memory --config` prints.

    Raises:
        RefusedInput: no config of a known family, settings that cannot be, or no size of a GPU.
    """
    machine = machine_with(gpu_memory) if gpu_memory else None
    if is_fitted:
        return fit_config(config, arguments, machine or read_machine())
    return predict_config(config, arguments, machine)


def predict_config(config: Mapping[str, Any], arguments: list[str], machine: Machine | None = None) -> dict[str, Any]:
    """The prediction for a model that is nowhere but in its config, at the longest rows that `max_length` allows.

    Args:
        config: what config.json holds.
        arguments: what the command line did not know: `--tuning qlora --max-length 4096 --gradient-checkpointing`.
        machine: where it would run; without one there is no verdict.

    Raises:
        RefusedInput: no config of a known family, or settings that cannot be.
    """
    values = check({**NAMED, **settings_of(arguments)})
    return as_document(estimate(from_config(config), values, shapes=Shapes(values["max_length"]), machine=machine))


def fit_config(config: Mapping[str, Any], arguments: list[str], machine: Machine) -> dict[str, Any]:
    """The settings of largest throughput that fit, filled in as the form would be; what is given stays.

    Args:
        config, arguments: as for `predict_config`.

    Returns:
        `settings`, `fits`, `changed` (names that were not left as the form fills them in), `cuts_rows`,
        `too_large_by_bytes`, `largest` (each `name`, `bytes`, `knob`), and the estimate of these settings.

    Raises:
        RefusedInput: as `predict_config`.
    """
    from studio.advisor.complete import complete
    from studio.advisor.facts import Facts
    from studio.memory.fit import fit

    given, model = settings_of(arguments), from_config(config)
    values, _ = complete({**NAMED, **given}, Facts(machine=machine, inventory=model))
    found = fit(
        model,
        values,
        shapes=Shapes(values["max_length"]),
        machine=machine,
        chosen=given.keys(),
        wanted_batch=effective_batch_size(values),
    )
    settled = {**values, **found.values}
    return {
        "settings": {name: settled[name] for name in SETTINGS if name in settled},
        "fits": found.estimate.verdict == "fits",
        "changed": sorted(found.values),
        "cuts_rows": found.cuts_rows,
        "too_large_by_bytes": found.excess_bytes,
        "largest": [asdict(term) for term in found.largest],
        **as_document(found.estimate),
    }


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


def settings_of(arguments: list[str]) -> dict[str, Any]:
    """`["--lora-r", "16", "--packing"]` -> `{"lora_r": "16", "packing": True}`, by the names of the table.

    Raises:
        SpecRefused: a word that is no setting.
    """
    known = {parameter.name: parameter for parameter in parameters("sft")}
    given: dict[str, Any] = {}
    faults: list[Fault] = []
    words = iter(arguments)
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in known:
            faults.append(Fault(word, "spec.unknown"))
        elif known[name].type == "bool":
            given[name] = True
        else:
            given[name] = next(words, "")
    if faults:
        raise SpecRefused(faults)
    return given


def lines(document: Mapping[str, Any]) -> list[str]:
    """For people: the settings where they were asked for, the peak, and its parts from large to small."""
    low, high = document["device_bytes"]
    parts = sorted(document["terms"].items(), key=lambda part: -part[1])
    knobs = {term["name"]: term["knob"] for term in document.get("largest", ())}
    return [
        *_settings_lines(document),
        f"{document['peak_phase']}: {_gib(document['allocated_bytes'])} ({_gib(low)} – {_gib(high)})",
        *(f"  {name}: {_gib(size)}" + (f"  <- {knobs[name]}" if knobs.get(name) else "") for name, size in parts),
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
