"""What the decoder's layers keep and need by following their source (`studio.memory.decoder`)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from studio.memory.decoder.layer import Layer
from studio.memory.decoder.passes import profile
from studio.memory.inventory import Inventory
from studio.memory.layers import Profile
from studio.memory.stack import Stack
from studio.memory.ways import (
    DTYPE_BYTES,
    ON_LAYERS,
    TRAINS_OWN_WEIGHTS,
    WITHOUT_LORA,
    bottleneck_size,
    compute_bytes,
    prompt_tokens,
)
from studio.params.tunings import ADDS_TOKENS


@dataclass(frozen=True)
class Formula:
    """Llama-like layers by their source (`studio.memory.decoder`): an attention, and a gated MLP or several."""

    inventory: Inventory
    values: Mapping[str, Any]
    stack: Stack
    is_on_gpu: bool = True
    is_traced: bool = False

    @property
    def has_beside(self) -> bool:
        return self.inventory.is_followed and self.values["tuning"] != "freeze"

    def kept(self, batch: int, row_tokens: int) -> float:
        return self._profile.kept.bytes_of(batch, row_tokens)

    def forward(self, batch: int, row_tokens: int) -> float:
        return self._profile.forward.bytes_of(batch, row_tokens)

    def backward(self, batch: int, row_tokens: int) -> float:
        return self._profile.backward.bytes_of(batch, row_tokens)

    @property
    def cached(self) -> float:
        return self._profile.kept.fixed if self.values["gradient_checkpointing"] else 0.0

    def no_grad(self, batch: int, row_tokens: int) -> float:
        found = self._profile
        passing = found.no_grad.bytes_of(batch, row_tokens) + self._encoder_copies
        return found.below.bytes_of(batch, row_tokens) + passing

    def below(self, batch: int, row_tokens: int) -> float:
        kept = self._profile.below.bytes_of(batch, row_tokens) + self._encoder_copies
        if self._is_adapted and self.values["tuning"] not in ADDS_TOKENS:
            kept += self._scaled_embeddings(batch, row_tokens)
        return kept + self._profile.first.bytes_of(batch, row_tokens)

    def above(self, batch: int, row_tokens: int) -> float:
        # Above frozen layers and those that are trained, the last norm is not.
        is_frozen = self.values["tuning"] == "freeze"
        found = profile(replace(self._layer, is_trained=False)) if is_frozen else self._profile
        return found.above.bytes_of(batch, row_tokens)

    def _scaled_embeddings(self, batch: int, row_tokens: int) -> float:
        """Before their multiplier, where a family has one: a leaf, since its gradient is asked for."""
        if not self.inventory.scales_embeddings:
            return 0.0
        return float(batch * row_tokens * self.inventory.hidden_size * DTYPE_BYTES[self.values["dtype"]])

    @property
    def _is_adapted(self) -> bool:
        return self.values["tuning"] not in TRAINS_OWN_WEIGHTS

    @property
    def _encoder_copies(self) -> float:
        """What autocast makes of the weights of p-tuning's encoder: three layers."""
        if self.values["tuning"] != "p_tuning" or self.values["mixed_precision"] == "no":
            return 0.0
        hidden = self.inventory.hidden_size
        inner = self.values.get("encoder_hidden_size") or hidden
        return 2.0 * inner * (2 * hidden + inner)

    @property
    def _norm_width(self) -> int:
        values = self.values
        if values["tuning"] == "ln_tuning":
            return DTYPE_BYTES[self.stack.adapter_dtype("ln_tuning")]
        return 4 if self.stack.kbit_prep else DTYPE_BYTES[values["dtype"]]

    @property
    def _variant(self) -> str:
        tuning = self.values["tuning"]
        if tuning in ON_LAYERS:
            return "dora" if self.values.get("use_dora") else ""
        return tuning if tuning in WITHOUT_LORA else ""

    @cached_property
    def _profile(self) -> Profile:
        return profile(self._layer)

    @cached_property
    def _layer(self) -> Layer:
        values, kernels = self.values, self.stack.kernels
        is_full, is_compressed = not self._is_adapted, values["tuning"] == "qlora"
        width = compute_bytes(values["dtype"], values["mixed_precision"])
        weights = DTYPE_BYTES[values["dtype"]]
        has_lora = values["tuning"] in ON_LAYERS
        return Layer(
            **_shape(self.inventory),
            width=width,
            weight_width=weights,
            norm_width=self._norm_width,
            is_trained=is_full,
            is_compressed=is_compressed,
            targets=_targets(self.inventory, values["lora_target_modules"]) if has_lora else frozenset(),
            rank=values.get("lora_r") or 0,
            adapter_width=DTYPE_BYTES[self.stack.adapter_dtype(values["tuning"])],
            has_dropout=has_lora and values.get("lora_dropout", 0) > 0,
            dropout_bytes=1 if self.is_on_gpu else 4,
            is_autocast=values["mixed_precision"] != "no",
            attention=values["attn_implementation"],
            has_fused_norms="norms" in kernels,
            has_fused_positions="positions" in kernels,
            has_fused_lora="lora" in kernels and is_compressed,
            has_fused_mlp="mlp" in kernels,
            casts_compressed_wide=self.stack.casts_compressed_wide,
            recomputes=self.stack.checkpointing if values["gradient_checkpointing"] else "",
            variant=self._variant,
            bottleneck=bottleneck_size(values),
            virtual_tokens=prompt_tokens(values) if values["tuning"] == "prefix_tuning" else 0,
        )


_ROLES = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj", "router": "gate"}
"""What Mixtral calls them, and what they are."""


def _targets(inventory: Inventory, names: list[str]) -> frozenset[str]:
    found = {module.last_name for module in inventory.targets(list(names))}
    return frozenset(_ROLES.get(name, name) for name in found)


def _shape(inventory: Inventory) -> dict[str, Any]:
    """Widths of the layer's parts, by the shapes of its weights where they have the usual names."""
    query = next((m.shape[0] for m in inventory.modules if m.last_name == "q_proj" and m.is_weight), None)
    return {
        "hidden": inventory.hidden_size,
        "inner": inventory.intermediate_size,
        "query": query or inventory.hidden_size,
        "key": inventory.key_width,
        "heads": inventory.num_heads,
        "experts": inventory.num_experts,
        "experts_per_token": inventory.num_experts_per_token,
        "scales_residual": inventory.family == "granite",
        "has_head_norms": any("q_norm" in module.name.split(".") for module in inventory.modules),
    }
