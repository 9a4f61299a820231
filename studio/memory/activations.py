"""What the decoder's layers keep and need in passing during a run: from traces of the model, or by formula.

    layers_of(inventory, values, stack=stack, device="cuda").backward(batch=4, row_tokens=1024)  ->  bytes

A trace (`trainers.tracing.trace`) is exact for the model and the libraries that it was made with. The formula is for
models that nobody has traced and for older libraries: it follows the source of Llama-like layers
(`studio.memory.decoder`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studio.memory.followed import Formula
from studio.memory.inventory import Inventory
from studio.memory.layers import Mode, Profile
from studio.memory.stack import Stack
from studio.memory.traced import Traced
from studio.memory.ways import ON_LAYERS, TRAINS_OWN_WEIGHTS, compute_bytes, is_unusual, mode_of


class Layers(Protocol):
    """Bytes of a device batch of `batch` rows; all peaks are above what stood before the layer."""

    is_traced: bool
    has_beside: bool
    """What the tuning keeps beside a layer is part of these figures."""

    def kept(self, batch: int, row_tokens: int) -> float:
        """By one layer, until the backward pass has come to it."""

    def forward(self, batch: int, row_tokens: int) -> float:
        """The most while one layer is computed; what it keeps is part of it."""

    def backward(self, batch: int, row_tokens: int) -> float:
        """The most while one layer's gradients are computed; what the layer keeps is part of it."""

    @property
    def cached(self) -> float:
        """Of what a layer keeps, what is gone when the forward pass ends: weights that autocast made short."""

    def no_grad(self, batch: int, row_tokens: int) -> float:
        """The most while one layer is computed without gradients, its input included."""

    def below(self, batch: int, row_tokens: int) -> float:
        """Kept beside the layers: embeddings, positions, masks."""

    def above(self, batch: int, row_tokens: int) -> float:
        """Kept by the last norm."""


def layers_of(inventory: Inventory, values: Mapping[str, Any], *, stack: Stack, device: str) -> Layers:
    is_full, has_lora = values["tuning"] in TRAINS_OWN_WEIGHTS, values["tuning"] in ON_LAYERS
    run = _Choice(
        is_full=is_full,
        dtype=values["dtype"],
        mixed_precision=values["mixed_precision"],
        attention=values["attn_implementation"],
        is_on_gpu=device != "cpu",
        adapter_dtype="" if is_full else stack.adapter_dtype(values["tuning"]),
        gradient_checkpointing=values["gradient_checkpointing"],
    )
    if stack.has_traced_layers:
        wanted = mode_of(values, stack=stack, device=device)
        if same := next((pair for pair in inventory.profiles if pair[0] == wanted), None):
            return Traced(inventory, values, same, same, share=1.0, has_beside=True)
        if is_unusual(values) and inventory.is_followed:
            return Formula(inventory, values, stack, is_on_gpu=run.is_on_gpu)
        if run.is_full and (whole := run.best(inventory, lambda mode: mode.is_full)):
            return Traced(inventory, values, whole, whole, share=1.0)
        plain = run.best(inventory, lambda mode: not mode.is_full and not mode.lora_target_modules)
        if not is_full and not has_lora and plain:
            return Traced(inventory, values, plain, plain, share=1.0)
        adapted = run.best(inventory, lambda mode: bool(mode.lora_target_modules))
        if has_lora and plain and adapted:
            return Traced(inventory, values, plain, adapted, share=_share_of_inputs(inventory, values))
    return Formula(inventory, values, stack, is_on_gpu=run.is_on_gpu)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What a run is like; the trace that is most like it counts."""

    is_full: bool
    dtype: str
    mixed_precision: str
    attention: str
    is_on_gpu: bool
    adapter_dtype: str
    gradient_checkpointing: bool

    def best(self, inventory: Inventory, is_wanted: Any) -> "tuple[Mode, Profile] | None":
        alike = [pair for pair in inventory.profiles if pair[0].gradient_checkpointing == self.gradient_checkpointing]
        wanted = [pair for pair in alike if pair[0].is_usual and is_wanted(pair[0])]
        return max(wanted, key=lambda pair: self._likeness(pair[0]), default=None)

    def _likeness(self, mode: Mode) -> tuple[bool, ...]:
        return (
            compute_bytes(mode.dtype, mode.mixed_precision) == compute_bytes(self.dtype, self.mixed_precision),
            mode.dtype == self.dtype,
            mode.attn_implementation == self.attention,
            mode.adapter_dtype == self.adapter_dtype,
            mode.is_on_gpu == self.is_on_gpu,
        )


def _share_of_inputs(inventory: Inventory, values: Mapping[str, Any]) -> float:
    """How much of what adapters on every linear layer keep those on some of them keep: mostly their inputs."""
    whole = sum(module.shape[-1] * module.count for module in inventory.inner_linears)
    return sum(m.shape[-1] * m.count for m in inventory.targets(values["lora_target_modules"])) / max(whole, 1)
