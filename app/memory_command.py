"""`luthier memory`: what a run would take, for a spec of this studio or for a bare config.json."""

from collections.abc import Mapping
from typing import Any

from studio.errors import Fault, SpecRefused
from studio.memory.estimate import Shapes, as_document, estimate
from studio.memory.inventory import from_config
from studio.params.table import check, parameters


def predict_config(config: Mapping[str, Any], arguments: list[str]) -> dict[str, Any]:
    """The prediction for a model that is nowhere but in its config, at the longest rows that `max_length` allows.

    Args:
        config: what config.json holds.
        arguments: what the command line did not know: `--tuning qlora --max-length 4096 --gradient-checkpointing`.

    Raises:
        RefusedInput: no config of a known family, or settings that cannot be.
    """
    given = settings_of(arguments)
    values = check({"model_name_or_path": "-", "dataset": "-", **given})
    return as_document(estimate(from_config(config), values, shapes=Shapes(values["max_length"])))


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
    """The prediction for people: the peak, and its parts from large to small."""
    low, high = document["device_bytes"]
    parts = sorted(document["terms"].items(), key=lambda part: -part[1])
    return [
        f"{document['peak_phase']}: {_gib(document['allocated_bytes'])} ({_gib(low)} – {_gib(high)})",
        *(f"  {name}: {_gib(size)}" for name, size in parts),
    ]


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
