"""What a way of tuning trains, what it compresses, and what it keeps beside a layer.

    trained(inventory, {"tuning": "lora", "lora_r": 8, "lora_target_modules": ["all-linear"], ...}, stack)
        -> Trained(parameters=2_442_240, bytes_each=4, share_of_layers=1.0, is_adapter=True)

Shapes were read off peft 0.21's own models; bottleneck adapters are two to a layer (Houlsby et al. 2019).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.memory.inventory import Inventory, Module
from studio.memory.stack import Stack, coefficients
from studio.memory.ways import DTYPE_BYTES, ON_LAYERS, TRAINS_OWN_WEIGHTS, VIRTUAL_TOKENS, bottleneck_size
from studio.params.layer_names import ALL, ATTENTION_PARTS, MLP_PARTS, is_trained

Values = Mapping[str, Any]
TRAINED_LAYERS = 2
IA3_OUTPUTS = frozenset({"k_proj", "v_proj", "query_key_value", "c_attn", "qkv_proj"})
IA3_INPUTS = frozenset({"down_proj", "fc2", "fc_out", "dense_4h_to_h", "w2"})
NORMS_OF_HEADS = frozenset({"q_norm", "k_norm"})
"""Norms within a layer's attention, which layer-norm tuning leaves alone."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    parameters: int
    bytes_each: int
    """Of one trained weight, and so of its gradient."""
    share_of_layers: float
    """Of the decoder's layers, from the top, how many take part in the backward pass."""
    is_adapter: bool
    """These weights stand beside the model's own."""

    @property
    def bytes(self) -> int:
        return self.parameters * self.bytes_each


def trained(inventory: Inventory, values: Values, stack: Stack) -> Trained:
    tuning = values["tuning"]
    if tuning == "full":
        return _own(values, inventory.parameters, 1.0)
    if tuning == "freeze":
        return _own(values, *_unfrozen(inventory, values))
    dtype = stack.adapter_dtype(tuning)
    count = _COUNTS[tuning](inventory, values)
    return Trained(parameters=count, bytes_each=DTYPE_BYTES[dtype], share_of_layers=1.0, is_adapter=True)


def weight_bytes(inventory: Inventory, values: Values) -> float:
    """Of the base model, compressed where the tuning asks for it: the decoder's linear layers only."""
    each = DTYPE_BYTES[values["dtype"]]
    everything = inventory.parameters
    if values["tuning"] != "qlora":
        return everything * each
    squeezed = sum(module.parameters for module in inventory.quantised)
    if not is_int8(values):
        return squeezed * coefficients()["nf4_bytes_per_parameter"] + (everything - squeezed) * each
    scales = sum(math.prod(module.shape[:-1]) * module.count for module in inventory.quantised)
    return squeezed + 4 * scales + (everything - squeezed) * each


def is_int8(values: Values) -> bool:
    return bool(values.get("load_in_8bit")) and values["tuning"] == "qlora"


def virtual_tokens(values: Values) -> int:
    """By how many tokens a learned prompt makes each row longer; a prefix is longer in keys and values only."""
    return _virtual(values) if values["tuning"] in ("prompt_tuning", "p_tuning") else 0


def prefix_tokens(values: Values) -> int:
    """By how many tokens a prefix makes each row's keys and values longer."""
    return _virtual(values) if values["tuning"] == "prefix_tuning" else 0


def kept_beside(inventory: Inventory, values: Values, width: int) -> float:
    """Bytes a token that one layer keeps more than an untrained one, where its adapters are not LoRA's.

    Args:
        width: bytes of one activation.
    """
    hidden, layers = inventory.hidden_size, inventory.num_hidden_layers
    tuning = values["tuning"]
    if tuning == "ia3":  # what is scaled
        return width * _ia3(inventory, values) / layers
    if tuning == "ln_tuning":  # the normalised values that the two weights are multiplied with
        return 2 * width * hidden
    if tuning == "bottleneck":  # inputs of both halves, before and after the activation function
        return 2 * width * (hidden + 3 * bottleneck_size(values))
    if values.get("use_dora") and tuning in ON_LAYERS:  # outputs of the base layer and of the adapter, to be scaled
        outputs = sum(m.shape[0] * m.count for m in inventory.targets(values["lora_target_modules"]))
        return 2 * width * outputs / layers
    return 0.0


def copies_beside(inventory: Inventory, values: Values) -> float:
    """Bytes in passing while one layer is computed, whatever the batch: whole weights made anew."""
    if values.get("use_dora") and values["tuning"] in ON_LAYERS:
        # The norm of weight and adapter together: B A, their sum, and its squares (peft: DoraLinearLayer).
        return 3 * _largest(inventory.targets(values["lora_target_modules"])) * 4
    return dequantised(inventory, values)


def dequantised(inventory: Inventory, values: Values) -> float:
    """Bytes of the one weight of 8 bits that is multiplied with in 16."""
    return 2.0 * _largest(inventory.inner_linears) if is_int8(values) else 0.0


def _own(values: Values, parameters: int, share: float) -> Trained:
    return Trained(
        parameters=parameters, bytes_each=DTYPE_BYTES[values["dtype"]], share_of_layers=share, is_adapter=False
    )


def _unfrozen(inventory: Inventory, values: Values) -> tuple[int, float]:
    """Weights of the layers that are trained, and the share of layers from the lowest of them upwards."""
    layers, names = inventory.num_hidden_layers, values.get("freeze_trainable_modules") or [ALL]
    first = layers - (values.get("freeze_trainable_layers") or TRAINED_LAYERS)
    found: dict[int, int] = {}
    for module in inventory.modules:
        for layer, path in _paths(module, inventory):
            if any(is_trained(name, names, first) for name in path):
                found[layer] = found.get(layer, 0) + module.parameters // (layers if ".*." in module.name else 1)
    lowest = min(found, default=layers)
    return sum(found.values()), min(1.0, (layers - lowest) / layers)


def _paths(module: Module, inventory: Inventory) -> list[tuple[int, tuple[str, ...]]]:
    """Each place of a module: the layer up to which the gradient goes for it, and the names that it has there."""
    layers = inventory.num_hidden_layers
    if ".*." in module.name:
        return [(layer, (module.name.replace(".*.", f".{layer}.", 1),)) for layer in range(layers)]
    if module.kind == "Embedding":
        return [(0, (module.name,) if inventory.has_head else (module.name, "lm_head"))]
    return [(layers, (module.name,))]


def _largest(modules: tuple[Module, ...]) -> int:
    return max((module.parameters // module.count for module in modules), default=0)


def _virtual(values: Values) -> int:
    return values.get("num_virtual_tokens") or VIRTUAL_TOKENS


def _lora(inventory: Inventory, values: Values) -> int:
    names = values["lora_target_modules"]
    magnitudes = sum(m.shape[0] * m.count for m in inventory.targets(names)) if values.get("use_dora") else 0
    return inventory.adapter_parameters(names, values["lora_r"]) + magnitudes


def _prefix(inventory: Inventory, values: Values) -> int:
    width, all_layers = inventory.key_width, 2 * inventory.num_hidden_layers * inventory.key_width
    if not values.get("prefix_projection"):
        return _virtual(values) * all_layers
    inner = values.get("encoder_hidden_size") or inventory.hidden_size
    return _virtual(values) * width + _dense(width, inner) + _dense(inner, all_layers)


def _prompt(inventory: Inventory, values: Values) -> int:
    return _virtual(values) * inventory.hidden_size


def _prompt_encoder(inventory: Inventory, values: Values) -> int:
    hidden, inner = inventory.hidden_size, values.get("encoder_hidden_size") or inventory.hidden_size
    return _prompt(inventory, values) + _dense(hidden, inner) + _dense(inner, inner) + _dense(inner, hidden)


def _ia3(inventory: Inventory, values: Values) -> int:
    weights = [module for module in inventory.modules if module.kind == "Linear" and module.is_weight]
    outputs = sum(m.shape[0] * m.count for m in weights if m.last_name in IA3_OUTPUTS)
    return outputs + sum(m.shape[-1] * m.count for m in weights if m.last_name in IA3_INPUTS)


def _norms(inventory: Inventory, values: Values) -> int:
    norms = (module for module in inventory.modules if module.kind == "Norm")
    return sum(m.parameters for m in norms if not NORMS_OF_HEADS & set(m.name.split(".")))


def _bottlenecks(inventory: Inventory, values: Values) -> int:
    hidden, inner = inventory.hidden_size, bottleneck_size(values)
    places = len(_bottleneck_places(inventory)) or 2
    return places * inventory.num_hidden_layers * (_dense(hidden, inner) + _dense(inner, hidden))


def _bottleneck_places(inventory: Inventory) -> set[str]:
    """Where a layer has them: after its attention, and after its MLP where that is a module of its own."""
    children = {
        module.name.split(".*.", 1)[1].partition(".")[0] for module in inventory.modules if ".*." in module.name
    }
    return children & (ATTENTION_PARTS | MLP_PARTS)


def _dense(inputs: int, outputs: int) -> int:
    """Weights and biases."""
    return inputs * outputs + outputs


_COUNTS: Mapping[str, Callable[[Inventory, Values], int]] = {
    "lora": _lora,
    "qlora": _lora,
    "prefix_tuning": _prefix,
    "prompt_tuning": _prompt,
    "p_tuning": _prompt_encoder,
    "ia3": _ia3,
    "ln_tuning": _norms,
    "bottleneck": _bottlenecks,
}
TUNINGS = (*sorted(TRAINS_OWN_WEIGHTS), *_COUNTS)
