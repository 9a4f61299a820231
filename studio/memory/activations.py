"""What the decoder's layers keep and need in passing during a run: from traces of the model, or by formula.

    layers_of(inventory, values, stack=stack, device="cuda").backward(batch=4, row_tokens=1024)  ->  bytes

A trace (`trainers.trace`) is exact for the model and the libraries that it was made with. The formula is for models
that nobody has traced and for older libraries: it follows the source of Llama-like layers (`studio.memory.decoder`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from studio.memory.decoder.layer import Layer
from studio.memory.decoder.passes import profile
from studio.memory.inventory import Inventory
from studio.memory.layers import Mode, Profile
from studio.memory.stack import Stack, coefficients

TRAINS_OWN_WEIGHTS = frozenset({"full", "freeze"})
ON_LAYERS = frozenset({"lora", "qlora"})
"""Tunings whose adapters sit on linear layers and keep those layers' inputs."""
ADDS_TOKENS = frozenset({"prompt_tuning", "p_tuning", "prefix_tuning"})
WITHOUT_LORA = ADDS_TOKENS | {"ia3", "ln_tuning", "bottleneck"}
"""What else is trained beside a model: peft's other tunings, and the studio's own adapters."""
BOTTLENECK_SIZE = 64
VIRTUAL_TOKENS = 20
"""peft has no default for num_virtual_tokens; this many are usual (Lester et al. 2021 tried 1 to 150)."""
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def compute_bytes(dtype: str, mixed_precision: str) -> int:
    """Of one activation."""
    return 2 if mixed_precision != "no" else DTYPE_BYTES[dtype]


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
        if _is_unusual(values) and inventory.is_followed:
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


def mode_of(values: Mapping[str, Any], *, stack: Stack, device: str = "cuda") -> Mode | None:
    """How a layer is trained with these settings; None where it takes more than one trace, or one that nobody makes."""
    tuning, named = values["tuning"], ("dtype", "mixed_precision", "attn_implementation", "gradient_checkpointing")
    usual = {name: values[name] for name in named} | {"is_on_gpu": device != "cpu"}
    if not stack.has_traced_layers or tuning not in TRAINS_OWN_WEIGHTS | ON_LAYERS | WITHOUT_LORA:
        return None
    if tuning in TRAINS_OWN_WEIGHTS:
        return Mode(is_full=True, variant="freeze" if tuning == "freeze" else "", **usual)
    usual |= {"is_full": False, "adapter_dtype": stack.adapter_dtype(tuning)}
    if tuning in WITHOUT_LORA:
        count = _virtual_tokens(values) if tuning in ADDS_TOKENS else 0
        return Mode(variant=tuning, num_virtual_tokens=count, lora_r=bottleneck_size(values), **usual)
    return Mode(
        lora_target_modules=tuple(values["lora_target_modules"]),
        lora_r=values.get("lora_r", 0),
        has_dropout=values.get("lora_dropout", 0) > 0,
        variant="dora" if values.get("use_dora") else "",
        **usual,
    )


def _is_unusual(values: Mapping[str, Any]) -> bool:
    """Whether usual traces say little of it."""
    return values["tuning"] in WITHOUT_LORA or (values["tuning"] in ON_LAYERS and bool(values.get("use_dora")))


def bottleneck_size(values: Mapping[str, Any]) -> int:
    """Of a bottleneck adapter; 0 with another tuning."""
    return (values.get("bottleneck_size") or BOTTLENECK_SIZE) if values["tuning"] == "bottleneck" else 0


def _virtual_tokens(values: Mapping[str, Any]) -> int:
    return values.get("num_virtual_tokens") or VIRTUAL_TOKENS


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


@dataclass(frozen=True)
class Traced:
    """Between a trace without adapters and one with adapters on every linear layer; for full training both are one."""

    inventory: Inventory
    values: Mapping[str, Any]
    least: tuple[Mode, Profile]
    most: tuple[Mode, Profile]
    share: float
    has_beside: bool = False
    is_traced: bool = True

    def kept(self, batch: int, row_tokens: int) -> float:
        return self._between("kept", batch, row_tokens)

    def forward(self, batch: int, row_tokens: int) -> float:
        return self._between("forward", batch, row_tokens) + self._eager(batch, row_tokens)

    def backward(self, batch: int, row_tokens: int) -> float:
        # The layer below it had its short copies when the trace looked for what stood before.
        return self._between("backward", batch, row_tokens) + self._eager(batch, row_tokens) + self.cached

    @property
    def cached(self) -> float:
        values = self.values
        if values["mixed_precision"] == "no" or not values["gradient_checkpointing"]:
            return 0.0
        fixed = (each.kept.fixed for each in (self.least[1], self.most[1]))
        return max(fixed)

    def no_grad(self, batch: int, row_tokens: int) -> float:
        passing = self._between("no_grad", batch, row_tokens) + self._eager(batch, row_tokens)
        # What it works on, positions and masks stand beside it.
        return passing + self._between("below", batch, row_tokens)

    def below(self, batch: int, row_tokens: int) -> float:
        return self._between("below", batch, row_tokens) + self._between("first", batch, row_tokens)

    def above(self, batch: int, row_tokens: int) -> float:
        return self._between("above", batch, row_tokens)

    def _between(self, name: str, batch: int, row_tokens: int) -> float:
        mode, profile = self.least
        least, most = (getattr(each, name).bytes_of(batch, row_tokens) for each in (profile, self.most[1]))
        values = self.values
        wanted = compute_bytes(values["dtype"], values["mixed_precision"])
        return (least + self.share * (most - least)) * wanted / compute_bytes(mode.dtype, mode.mixed_precision)

    def _eager(self, batch: int, row_tokens: int) -> float:
        """The scores of every pair, where the trace was made with another kernel."""
        if self.values["attn_implementation"] != "eager" or self.least[0].attn_implementation == "eager":
            return 0.0
        return eager_scores(self.inventory, self.values, batch, row_tokens)


def eager_scores(inventory: Inventory, values: Mapping[str, Any], batch: int, row_tokens: int) -> float:
    width = compute_bytes(values["dtype"], values["mixed_precision"])
    bytes_each = coefficients()["eager_attention_bytes"] * width / 2
    return batch * row_tokens**2 * inventory.num_heads * bytes_each


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
        return self._profile.above.bytes_of(batch, row_tokens)

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
        values, kernels = self.values, self.stack.kernels
        is_full, is_compressed = not self._is_adapted, values["tuning"] == "qlora"
        width = compute_bytes(values["dtype"], values["mixed_precision"])
        weights = DTYPE_BYTES[values["dtype"]]
        has_lora = values["tuning"] in ON_LAYERS
        return profile(
            Layer(
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
                virtual_tokens=_virtual_tokens(values) if values["tuning"] == "prefix_tuning" else 0,
            )
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
