"""The library versions that a prediction is made for, and the coefficients that hold for them."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Stack:
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> version; one that is left out counts as the newest."""
    loss_kernel: str | None = None
    """plain, liger or chunked; None is what these versions do by themselves."""
    kbit_prep: bool = False
    """peft's prepare_model_for_kbit_training was applied: fp32 norms and residual stream."""

    @property
    def kernel(self) -> str:
        return self.loss_kernel or find(coefficients()["default_loss"], self.versions)["kernel"]

    def loss(self) -> Mapping[str, Any]:
        return self.rules(self.kernel)

    def rules(self, loss: str) -> Mapping[str, Any]:
        """What is known of a way to compute the loss, with these versions."""
        return find(coefficients()["loss"][loss], self.versions)

    @property
    def has_traced_layers(self) -> bool:
        """Whether a trace with the installed libraries tells what layers keep with these.

        None is made with norms in float32.
        """
        return self.kernel != "liger" and not self.kbit_prep and find(coefficients()["layers"], self.versions)["traced"]

    @property
    def has_fused_experts(self) -> bool:
        """Whether all experts of a layer are one weight; before, each had linear layers of its own."""
        return find(coefficients()["experts"], self.versions)["fused"]

    @property
    def balances_experts(self) -> bool:
        """Whether trl adds, unasked, the loss that keeps experts equally busy."""
        return find(coefficients()["balanced_experts"], self.versions)["by_default"]

    @property
    def kernels(self) -> frozenset[str]:
        """What of a layer is one kernel each, beside the loss: norms, positions, lora, mlp."""
        return (
            frozenset(find(coefficients()["liger"], self.versions)["fused"]) if self.kernel == "liger" else frozenset()
        )

    @property
    def checkpointing(self) -> str:
        """Which of torch's two ways is taken where nobody says: reentrant or plain."""
        return find(coefficients()["checkpointing"], self.versions)["kind"]

    @property
    def casts_compressed_wide(self) -> bool:
        return find(coefficients()["compressed"], self.versions)["casts_wide"]

    @property
    def uncovered(self) -> list[str]:
        """Libraries whose version is newer or older than what the coefficients have evidence for: `["trl 2.0"]`."""
        ranges = coefficients()["covered"]
        return [
            f"{name} {version}"
            for name, version in self.versions.items()
            if name in ranges and not _covers(ranges[name], version)
        ]

    def adapter_dtype(self, tuning: str) -> str:
        rules = coefficients()["adapter_dtype"]
        return find(rules.get(tuning, rules["lora"]), self.versions)["dtype"]


@cache
def installed_stack() -> Stack:
    """The versions installed beside this process; nothing is imported to find out."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Stack(versions=versions)


@cache
def coefficients() -> Mapping[str, Any]:
    return yaml.load((Path(__file__).parent / "coefficients.yaml").read_text("utf-8"), _Loader)


def find(entries: list[dict[str, Any]], versions: Mapping[str, str]) -> dict[str, Any]:
    """The first entry whose version ranges cover these versions; the last one where none does."""
    for entry in entries:
        known = {name: wanted for name, wanted in entry["when"].items() if name in versions}
        if all(_covers(wanted, versions[name]) for name, wanted in known.items()):
            return entry
    return entries[-1]


@cache
def _covers(wanted: str, version: str) -> bool:
    """A range and a version: `>=1.16`, `1.16.0` -> True. A search for settings asks the same a thousand times."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)
