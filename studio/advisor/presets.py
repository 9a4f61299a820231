"""Presets: values that the source documents recommend, by name (`templates/presets/`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from studio.params.table import parameters
from studio.params.tunings import keeps_model
from studio.paths import TEMPLATES

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Preset:
    name: str
    titles: Mapping[str, str]
    methods: tuple[str, ...]
    suits: Mapping[str, Any]
    """For whom the document wrote it: rows, parameters (of the model), tuning."""
    values: Mapping[str, Any]
    """As the document has them: a list of two numbers is a range."""
    source: str
    notes: Mapping[str, str]
    """What to know of it where documents clash, by language; empty for nothing."""

    def title(self, language: str) -> str:
        return self.titles[language]

    def resolved(self, *, method: str, tuning: str, per_device_train_batch_size: int) -> dict[str, Any]:
        """Values of the method's parameter table: the middle of a range, the documents' words as our names.

        {"num_train_epochs": [2, 3], "dropout": 0.2} -> {"num_train_epochs": 2.5, "lora_dropout": 0.2}; where all
        weights are trained it is the dropout in attention, the only one that Llama-like models have.
        """
        found = {name: middle(value) for name, value in self.values.items()}
        batch = found.pop("effective_batch_size", None)
        if batch is not None:
            device = min(per_device_train_batch_size, batch)
            found |= {"per_device_train_batch_size": device, "gradient_accumulation_steps": max(1, batch // device)}
        tuning = found.get("tuning", tuning)
        dropout = found.pop("dropout", None)
        if dropout is not None:
            found["attention_dropout" if keeps_model(tuning) else "lora_dropout"] = dropout
        chosen = {"method": method, "tuning": tuning, **found}
        applying = {parameter.name for parameter in parameters(method) if parameter.applies_to(chosen)}
        return {name: value for name, value in found.items() if name in applying}


@cache
def presets() -> tuple[Preset, ...]:
    return tuple(_read(path.stem, path.read_text("utf-8")) for path in sorted((TEMPLATES / "presets").glob("*.yaml")))


def presets_for(method: str) -> tuple[Preset, ...]:
    return tuple(preset for preset in presets() if method in preset.methods)


def middle(value: Any) -> Any:
    """The middle of a range; anything else as it is."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return sum(value) / 2
    return value


def _read(name: str, text: str) -> Preset:
    row = yaml.load(text, _Loader)
    return Preset(
        name, row["name"], tuple(row["methods"]), row["suits"], row["values"], row["source"], row.get("note", {})
    )
