"""How much memory a run will take: arithmetic on a model's inventory, by phase; the peak is the largest phase.

    load               the weights arrive
    forward_and_loss   all kept activations, and the loss on top
    layer_backward     one decoder layer computed again, its gradients in flight
    optimizer_step     gradients and optimizer states, and the optimizer's own copies
    evaluation         held-out rows, nothing kept for a backward pass

Formulas come from what autograd and trl keep (`docs/design.md`, section 6); numbers that depend on library versions
stand in coefficients.yaml with their evidence. Batches are counted at their longest row. Several GPUs, sharding and
offloading are not covered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from studio.hardware import Machine
from studio.memory.activations import DTYPE_BYTES, Layers, compute_bytes, layers_of
from studio.memory.inventory import Inventory
from studio.memory.stack import Stack, coefficients, installed_stack

GPU_SHARE = 0.95
"""Of a GPU's memory; the rest is the display's and the driver's."""
RAM_SHARE = 0.85
"""Of the main memory, if nothing but the system ran beside."""


@dataclass(frozen=True)
class Shapes:
    """The longest device batch that the data makes."""

    longest_row: int
    """Tokens of the longest row before `max_length` cuts it."""

    def row_tokens(self, values: Mapping[str, Any]) -> int:
        return values["max_length"] if values["packing"] else min(self.longest_row, values["max_length"])


@dataclass(frozen=True)
class Estimate:
    device: str
    """cuda, or cpu: then all figures are host memory."""
    phases: Mapping[str, Mapping[str, int]]
    """Phase -> part -> bytes."""
    resting_bytes: int
    """What stays between two steps."""
    available_bytes: int | None
    """What the run may take on this machine; None where no machine was given."""
    limit_bytes: int | None = None
    """What it could take if nothing else ran; None is the same as available."""

    @property
    def peak_phase(self) -> str:
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def terms(self) -> Mapping[str, int]:
        """The parts of the peak."""
        return self.phases[self.peak_phase]

    @property
    def allocated_bytes(self) -> int:
        """`torch.cuda.max_memory_allocated`, or the process's own memory on a CPU."""
        return sum(self.terms.values())

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """What the allocator holds, from - to."""
        band = self._band("reserved")
        return self._scaled(band["low"]), self._scaled(band["high"])

    @property
    def device_bytes(self) -> tuple[int, int]:
        """What the driver shows, from - to."""
        band = self._band("device")
        return self._scaled(band["low"]) + self._context, self._scaled(band["high"]) + self._context

    @property
    def verdict(self) -> str:
        """fits, tight, too_large, or unknown without a machine."""
        if self.available_bytes is None:
            return "unknown"
        if self._scaled(self._band("device").get("middle", 1.15)) + self._context <= self.available_bytes:
            return "fits"
        # Cached blocks are given back before the allocator gives up, so fragmentation of a few per cent is what stays.
        if self._scaled(1.04) + self._context <= max(self.available_bytes, self.limit_bytes or 0):
            return "tight"
        return "too_large"

    def _band(self, name: str) -> Mapping[str, float]:
        return coefficients()["bands"]["host" if self.device == "cpu" else name]

    def _scaled(self, factor: float) -> int:
        return int(self.allocated_bytes * factor)

    @property
    def _context(self) -> int:
        return 0 if self.device == "cpu" else coefficients()["constants"]["context_bytes"]


def estimate(
    inventory: Inventory,
    values: Mapping[str, Any],
    *,
    shapes: Shapes,
    machine: Machine | None = None,
    stack: Stack | None = None,
) -> Estimate:
    """Memory of a training run.

    Args:
        values: checked values of a parameter table (`studio.params.table.check`).
        machine: where it runs; without a GPU the figures are host memory. None: some GPU.
        stack: library versions; None is what is installed.
    """
    device = "cpu" if machine is not None and machine.gpu is None else "cuda"
    run = _Run(inventory, values, shapes.row_tokens(values), stack or installed_stack(), device)
    resting = run.static()
    phases = {
        "load": run.load(),
        "forward_and_loss": {**resting, **run.kept_gradients(), **run.kept_activations(), **run.loss(run.tokens)},
        "layer_backward": _larger(
            {**resting, **run.head_gradients(), **run.last_layer()},
            # At the first layer all kept activations are gone and all gradients there.
            {**resting, **run.gradients(), **run.first_layer()},
        ),
        "optimizer_step": {**resting, **run.gradients(), **run.step_copies()},
    }
    if values["validation_split"] > 0:
        phases["evaluation"] = {**resting, **run.evaluation()}
    return Estimate(
        device=device,
        phases={name: {part: int(size) for part, size in parts.items() if size >= 1} for name, parts in phases.items()},
        resting_bytes=int(sum(resting.values())),
        available_bytes=_available(machine),
        # Memory that a running job of the studio's holds now is free again when a waiting one starts.
        limit_bytes=int(machine.ram_bytes * RAM_SHARE) if device == "cpu" else None,
    )


def as_document(found: Estimate) -> dict[str, Any]:
    """The prediction as the command line's JSON has it."""
    return {
        "allocated_bytes": found.allocated_bytes,
        "resting_bytes": found.resting_bytes,
        "reserved_bytes": list(found.reserved_bytes),
        "device_bytes": list(found.device_bytes),
        "phases": {name: sum(parts.values()) for name, parts in found.phases.items()},
        "peak_phase": found.peak_phase,
        "terms": dict(found.terms),
        "verdict": found.verdict,
    }


def _available(machine: Machine | None) -> int | None:
    if machine is None:
        return None
    if machine.gpu is None:
        return machine.ram_free_bytes
    return int(machine.gpu.total_bytes * GPU_SHARE)


def _larger(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return max(one, other, key=lambda parts: sum(parts.values()))


@dataclass(frozen=True)
class _Run:
    """One configuration; each method is a group of parts in bytes."""

    inventory: Inventory
    values: Mapping[str, Any]
    row_tokens: int
    stack: Stack
    device: str

    @property
    def tokens(self) -> int:
        """Of one device batch."""
        return self.values["per_device_train_batch_size"] * self.row_tokens

    @property
    def is_full(self) -> bool:
        return self.values["tuning"] == "full"

    @property
    def weight_bytes(self) -> int:
        return DTYPE_BYTES[self.values["dtype"]]

    @property
    def compute_bytes(self) -> int:
        return compute_bytes(self.values["dtype"], self.values["mixed_precision"])

    @cached_property
    def layers(self) -> Layers:
        return layers_of(self.inventory, self.values, stack=self.stack, device=self.device)

    @property
    def batch(self) -> int:
        return self.values["per_device_train_batch_size"]

    @property
    def trained(self) -> int:
        """Number of trained weights."""
        if self.is_full:
            return self.inventory.parameters
        return self.inventory.adapter_parameters(self.values["lora_target_modules"], self.values["lora_r"])

    @property
    def trained_bytes(self) -> int:
        """Of one trained weight, and so of its gradient."""
        dtype = self.values["dtype"] if self.is_full else self.stack.adapter_dtype(self.values["tuning"])
        return DTYPE_BYTES[dtype]

    def weights(self) -> float:
        everything = self.inventory.parameters
        if self.values["tuning"] != "qlora":
            return everything * self.weight_bytes
        squeezed = sum(module.parameters for module in self.inventory.inner_linears)
        return squeezed * coefficients()["nf4_bytes_per_parameter"] + (everything - squeezed) * self.weight_bytes

    def static(self) -> dict[str, float]:
        rules = coefficients()["optimizers"][self.values["optim"]]
        state = rules.get("state_bytes", rules.get("state_copies", 0) * self.trained_bytes)
        return {
            "weights": self.weights(),
            "adapter": 0 if self.is_full else self.trained * self.trained_bytes,
            "optimizer": self.trained * state,
            **self._surroundings(),
        }

    def load(self) -> dict[str, float]:
        widest = max((m.parameters / m.count for m in self.inventory.modules), default=0)
        return {"weights": self.weights(), "loading": widest * self.weight_bytes, **self._surroundings()}

    def gradients(self) -> dict[str, float]:
        return {"gradients": self.trained * self.trained_bytes}

    def kept_gradients(self) -> dict[str, float]:
        """Gradients that are there during the forward pass: those of the batches accumulated so far."""
        return self.gradients() if self.values["gradient_accumulation_steps"] > 1 else {}

    def head_gradients(self) -> dict[str, float]:
        """Gradients that are there when the last layer's turn comes."""
        if self.kept_gradients() or not self.is_full:
            return self.kept_gradients()
        layers = sum(module.parameters for module in self.inventory.modules if ".*." in module.name)
        embedding = self.inventory.vocab_size * self.inventory.hidden_size if self.inventory.has_head else 0
        return {"gradients": max(0, self.trained - layers - embedding) * self.trained_bytes}

    def kept_activations(self) -> dict[str, float]:
        """What all layers keep until the loss is computed."""
        return {**self._activations(self.inventory.num_hidden_layers), **self._inputs(), **self._short_copies()}

    def _activations(self, layers: int) -> dict[str, float]:
        kept = layers * self.layers.kept(self.batch, self.row_tokens) + self.layers.below(self.batch, self.row_tokens)
        return {"activations": kept}

    def _inputs(self) -> dict[str, float]:
        """Token ids, labels and mask."""
        return {"inputs": 3 * 8 * self.tokens}

    def _short_copies(self) -> dict[str, float]:
        """Autocast keeps a short copy of every weight that it multiplied with until the forward pass ends."""
        if self.layers.is_traced or not self.is_full or self.compute_bytes >= self.weight_bytes:
            return {}
        linear = sum(module.parameters for module in self.inventory.modules if module.kind == "Linear")
        return {"short_copies": linear * self.compute_bytes}

    def loss(self, tokens: int) -> dict[str, float]:
        rules, inventory = self.stack.loss(), self.inventory
        per_token = rules["per_token"]["V"] * inventory.vocab_size + rules["per_token"]["H"] * inventory.hidden_size
        size = per_token * tokens * self.compute_bytes / 2 + self.layers.above(1, tokens)
        if tile := rules.get("tile"):
            cells = min(tokens, tile["tokens"]) * min(inventory.vocab_size, tile["width"])
            size += cells * (self.compute_bytes + 4 * tile["fp32_copies"][self.device])
        if self.is_full:
            size += rules.get("head_gradient_bytes", 0) * inventory.vocab_size * inventory.hidden_size
        return {"loss": size}

    def last_layer(self) -> dict[str, float]:
        """The last layer's gradients are computed while all others still keep their activations."""
        return {
            **self._activations(self.inventory.num_hidden_layers - 1),
            **self._inputs(),
            **self._short_copies(),
            **self._layer(),
        }

    def first_layer(self) -> dict[str, float]:
        return {**self._activations(0), **self._inputs(), **self._layer()}

    def _layer(self) -> dict[str, float]:
        size = self.layers.backward(self.batch, self.row_tokens)
        if self.inventory.num_experts > 1 and self.values["tuning"] == "qlora":
            expert = 3 * self.inventory.hidden_size * self.inventory.intermediate_size
            size += expert * coefficients()["layer_backward"]["moe"]["expert_copies_bytes"]
        return {"layer": size}

    def step_copies(self) -> dict[str, float]:
        rules = coefficients()["optimizers"][self.values["optim"]]
        copies = rules["step_copies"] * self.trained * self.trained_bytes
        if "largest_copies" in rules:
            largest = max((m.parameters / m.count for m in self.inventory.modules), default=0)
            copies += rules["largest_copies"] * min(largest, self.trained) * 4
        return {"step": copies}

    def evaluation(self) -> dict[str, float]:
        """One layer at a time; the loss as in training, which is an upper bound."""
        batch = self.values["per_device_eval_batch_size"]
        trained_head = replace(self, values={**self.values, "tuning": "lora"})  # no gradient of the head
        return {
            "layer": self.layers.no_grad(batch, self.row_tokens),
            **trained_head.loss(batch * self.row_tokens),
        }

    def _surroundings(self) -> dict[str, float]:
        constants = coefficients()["constants"]
        return {"process": constants["process_bytes"] if self.device == "cpu" else constants["workspace_bytes"]}
