"""The parts of memory in each phase of a run, for one configuration.

Formulas come from what autograd, trl and peft keep; numbers that depend on library versions stand in coefficients.yaml
with their evidence. Batches are counted at their longest row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from studio.memory.activations import DTYPE_BYTES, Layers, compute_bytes, layers_of
from studio.memory.adapters import (
    Trained,
    copies_beside,
    dequantised,
    kept_beside,
    trained,
    virtual_tokens,
    weight_bytes,
)
from studio.memory.generation import generation
from studio.memory.inventory import Inventory
from studio.memory.losses import Chunked, Head, OneNumber, Scored, head_of
from studio.memory.methods import (
    Batch,
    Method,
    asks_reference,
    batch_of,
    generated_rows,
    has_reference_model,
    scores_old_answers,
)
from studio.memory.optimizers import state_bytes
from studio.memory.stack import Stack, coefficients
from studio.params.adversarial import passes

Parts = dict[str, float]


def phases_of(run: "Run") -> dict[str, Parts]:
    """Phase -> part -> bytes."""
    resting, batch = run.static, run.batch
    phases = {
        "load": run.load(),
        "forward_and_loss": {**resting, **run.kept_gradients(), **run.forward_and_loss(batch)},
        "layer_backward": _larger(
            {**resting, **run.head_gradients(), **run.last_layer(batch)},
            # At the first layer all kept activations are gone and all gradients there.
            {**resting, **run.first_gradients(), **run.first_layer(batch)},
        ),
        "optimizer_step": {**resting, **run.gradients(), **run.inputs(batch), **run.step_copies()},
    }
    if run.scores_beforehand:
        phases["reference_pass"] = {**resting, **run.no_grad(batch)}
    elif asks_reference(run.method, run.values):
        phases["reference_pass"] = _over(
            {**resting, **run.kept_gradients(), **run.kept(batch), "loss": run.loss_kept(batch)}, run.no_grad(batch)
        )
    if run.method.generates and not run.values.get("use_vllm"):
        phases["generation"] = {**resting, **run.generation()}
    if run.values.get("validation_split", 0) > 0:
        phases["evaluation"] = {**resting, **run.no_grad(run.evaluation_batch)}
    return phases


def _larger(one: Parts, other: Parts) -> Parts:
    return max(one, other, key=lambda parts: sum(parts.values()))


def _over(one: Parts, other: Parts) -> Parts:
    """Both at once."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}


@dataclass(frozen=True)
class Run:
    """One configuration; each method is a group of parts in bytes."""

    inventory: Inventory
    values: Mapping[str, Any]
    longest_row: int
    stack: Stack
    device: str
    method: Method

    @classmethod
    def of(
        cls,
        inventory: Inventory,
        values: Mapping[str, Any],
        longest_row: int,
        *,
        stack: Stack,
        device: str,
        method: Method,
    ) -> "Run":
        """As the method's trainer has it: dropout off where it switches it off, a reward model without a vocabulary."""
        if method.disables_dropout and values.get("disable_dropout", True):
            values = {**values, "lora_dropout": 0.0}
        if method.prepares_kbit and values["tuning"] == "qlora":
            stack = replace(stack, kbit_prep=True)
        inventory = inventory if method.has_head else inventory.without_head()
        return cls(inventory, values, longest_row, stack, device, method)

    @cached_property
    def batch(self) -> Batch:
        return self._batch_of(self.values["per_device_train_batch_size"])

    @property
    def evaluation_batch(self) -> Batch:
        return self._batch_of(self.values["per_device_eval_batch_size"])

    def _batch_of(self, size: int) -> Batch:
        found = batch_of(self.method, self.values, self.longest_row, size=size)
        more = virtual_tokens(self.values)
        return replace(found, row_tokens=found.row_tokens + more, scored_tokens=found.scored_tokens + more)

    @property
    def is_full(self) -> bool:
        return self.values["tuning"] == "full"

    @property
    def scores_beforehand(self) -> bool:
        """Log-probabilities are computed without activations of a training pass."""
        if self.method.generates:
            return asks_reference(self.method, self.values) or scores_old_answers(self.method, self.values)
        return self.method.reference is not None and not asks_reference(self.method, self.values)

    @property
    def width(self) -> int:
        """Bytes of one activation."""
        return compute_bytes(self.values["dtype"], self.values["mixed_precision"])

    @cached_property
    def layers(self) -> Layers:
        return layers_of(self.inventory, self.values, stack=self.stack, device=self.device)

    @cached_property
    def trained(self) -> Trained:
        found = trained(self.inventory, self.values, self.stack)
        # What scores a whole row is trained whatever the tuning.
        scores = 0 if self.method.has_head else self.inventory.hidden_size
        return replace(found, parameters=found.parameters + scores)

    @cached_property
    def head(self) -> Head:
        # A head that is tied to the embedding gets its gradient too.
        scored = Scored.of(self.inventory, self.values, self.device, is_trained=self.is_full)
        return head_of(self.method, scored, self.stack)

    # -- what stands ------------------------------------------------------------------------------------------------

    @cached_property
    def static(self) -> Parts:
        """What stays between two steps."""
        own, count = self.trained, self.trained.parameters + self._critic_parameters
        return {
            "weights": self._weights,
            "adapter": own.bytes if own.is_adapter else 0,
            "optimizer": state_bytes(self.inventory, self.values, replace(own, parameters=count)),
            **self._kept_from_before(),
            **self._other_models(),
            **self._surroundings(),
        }

    def _kept_from_before(self) -> Parts:
        """What holds an earlier task (`trainers.continual`), in float32: firmness and centre of each trained weight;
        where it is counted what the weights did, that, their beginning, and a copy while a step is taken."""
        kind = self.values.get("continual", "none")
        copies = 2 if kind in ("ewc", "si") else 0
        copies += 3 if kind == "si" or self.values.get("track_importance") else 0
        return {"kept_from_before": 4 * copies * self.trained.parameters} if copies else {}

    @property
    def _weights(self) -> float:
        """kbit preparation makes what is not compressed float32; trl makes it bfloat16 again, and only that."""
        found = weight_bytes(self.inventory, self.values)
        if not self.stack.kbit_prep or self.values["tuning"] != "qlora" or self.values["mixed_precision"] == "bf16":
            return found
        plain = self.inventory.parameters - sum(module.parameters for module in self.inventory.quantised)
        return found + (4 - DTYPE_BYTES[self.values["dtype"]]) * plain

    def _other_models(self) -> Parts:
        weights, parts = weight_bytes(self.inventory, self.values), {}
        if has_reference_model(self.method, self.values):
            parts["reference_model"] = weights
        if self.method.has_critic:
            parts["critic"] = self._critic_parameters * self.trained.bytes_each
            if self.values.get("value_model"):
                parts["critic"] += weights - (0 if self.trained.is_adapter else self.trained.bytes)
        if self.values.get("reward_model"):
            parts["reward_model"] = weights
        if self.values.get("asked_models_bytes"):
            parts["asked_models"] = self.values["asked_models_bytes"]
        return parts

    @property
    def _critic_parameters(self) -> int:
        """Trained weights that judge: a head of one number on the policy's layers, or a second model tuned alike."""
        if not self.method.has_critic:
            return 0
        head = self.inventory.hidden_size + 1
        return head + (self.trained.parameters if self.values.get("value_model") else 0)

    def load(self) -> Parts:
        # The weights of one module come as a whole.
        widest = max((m.parameters / m.count for m in self.inventory.modules), default=0)
        loading = widest * DTYPE_BYTES[self.values["dtype"]]
        weights = {"weights": self._weights, "loading": loading}
        return {**weights, **self._other_models(), **self._surroundings()}

    def _surroundings(self) -> Parts:
        constants = coefficients()["constants"]
        return {"process": constants["process_bytes"] if self.device == "cpu" else constants["workspace_bytes"]}

    # -- gradients --------------------------------------------------------------------------------------------------

    def gradients(self) -> Parts:
        return {"gradients": (self.trained.parameters + self._critic_parameters) * self.trained.bytes_each}

    def kept_gradients(self) -> Parts:
        """Gradients that are there during a forward pass: those of the passes before it within the same step."""
        times = self.values["gradient_accumulation_steps"] * passes(self.values)
        return self.gradients() if times > 1 else {}

    def head_gradients(self) -> Parts:
        """Gradients that are there when the last layer's turn comes."""
        if self.kept_gradients() or not self.is_full:
            return self.kept_gradients()
        above = self.trained.parameters - self._layer_parameters - self._embedding_parameters
        return {"gradients": max(0, above) * self.trained.bytes_each}

    def first_gradients(self) -> Parts:
        """Gradients that are there when the first layer's turn comes: its own are part of what was traced."""
        if self.kept_gradients():
            return self.gradients()
        in_layers = self._layer_parameters if self.is_full else self.trained.parameters
        later = in_layers / max(1, self._trained_layers) + (self._embedding_parameters if self.is_full else 0)
        return {"gradients": (self.trained.parameters + self._critic_parameters - later) * self.trained.bytes_each}

    @property
    def _layer_parameters(self) -> int:
        return sum(module.parameters for module in self.inventory.modules if ".*." in module.name)

    @property
    def _embedding_parameters(self) -> int:
        """Of an embedding whose gradient comes last; one that is the head too has it first."""
        comes_last = self.inventory.has_head or not self.method.has_head
        return self.inventory.vocab_size * self.inventory.hidden_size if comes_last else 0

    # -- activations ------------------------------------------------------------------------------------------------

    def kept(self, batch: Batch) -> Parts:
        """What all layers keep until the loss is computed."""
        return {
            **self._activations(batch, self._trained_layers),
            **self.inputs(batch),
        }

    @property
    def _trained_layers(self) -> float:
        return self.inventory.num_hidden_layers * self.trained.share_of_layers

    def _activations(self, batch: Batch, layers: float) -> Parts:
        each = self.layers.kept(batch.rows, batch.row_tokens)
        if not self.values["gradient_checkpointing"]:
            each += self._beside(batch)
        below = self.layers.below(batch.rows, batch.row_tokens)
        streams = 2 if self.values.get("value_model") and self.method.has_critic else 1
        return {"activations": (layers * each + below + self._kept_frozen(batch)) * streams}

    def _kept_frozen(self, batch: Batch) -> float:
        """Inputs of layers that are not trained: torch's checkpoint holds them in a cycle that nothing collects."""
        if self.values["tuning"] != "freeze" or not self.values["gradient_checkpointing"]:
            return 0.0
        counted = 1 if self.layers.has_beside else 0
        frozen = self.inventory.num_hidden_layers - self._trained_layers - counted
        return max(0.0, frozen) * batch.tokens * self.inventory.hidden_size * self.width

    def _beside(self, batch: Batch) -> float:
        if self.layers.has_beside:
            return 0.0
        return batch.tokens * kept_beside(self.inventory, self.values, self.width)

    def inputs(self, batch: Batch) -> Parts:
        """Token ids, labels and mask; on a CPU also those of the next batch, which the loader reads ahead."""
        reads_ahead = self.device == "cpu" and not self.method.generates
        batches = (2 if reads_ahead else 1) * self.method.batches_at_once
        own = batch.tokens - batch.rows * virtual_tokens(self.values)
        has_labels = self.method.has_labels or self.values.get("task_type") == "TOKEN_CLS"
        return {"inputs": (3 if has_labels else 2) * 8 * own * batches}

    def forward_and_loss(self, batch: Batch) -> Parts:
        """The loss on top of all kept activations, or the last layer on top of the others'."""
        forward = self.layers.forward(batch.rows, batch.row_tokens) + self._beside(batch)
        below = self._activations(batch, max(0.0, self._trained_layers - 1))
        return _larger(
            {**self.kept(batch), **self.loss(batch)},
            {**below, **self.inputs(batch), "layer": forward},
        )

    def last_layer(self, batch: Batch) -> Parts:
        """The last layer's gradients are computed while all others still keep their activations."""
        others = max(0.0, self._trained_layers - 1)
        kept = self._activations(batch, others)["activations"] - others * self.layers.cached
        return {"activations": kept, **self.inputs(batch), **self._layer(batch)}

    def first_layer(self, batch: Batch) -> Parts:
        return {**self._activations(batch, 0), **self.inputs(batch), **self._layer(batch)}

    def _layer(self, batch: Batch) -> Parts:
        size = self.layers.backward(batch.rows, batch.row_tokens) + self._beside(batch)
        copied = dequantised if self.layers.has_beside else copies_beside
        return {"layer": size + copied(self.inventory, self.values)}

    # -- loss, passes without gradients, step -----------------------------------------------------------------------

    def loss(self, batch: Batch) -> Parts:
        return {"loss": self._above(batch) + self.head.backward(self._scored(batch)) + self._values(batch)}

    def loss_kept(self, batch: Batch) -> float:
        return self._above(batch) + self.head.kept(self._scored(batch))

    def _scored(self, batch: Batch) -> int:
        """Tokens that the head works on: without Triton trl's chunked head takes every position but the last."""
        if isinstance(self.head, Chunked) and self.device == "cpu":
            return batch.rows * (batch.row_tokens - 1)
        return batch.scored

    def _above(self, batch: Batch) -> float:
        output = batch.tokens * self.inventory.hidden_size * self.width if self.head.drops_hidden else 0
        return max(0.0, self.layers.above(batch.rows, batch.row_tokens) - output)

    def _values(self, batch: Batch) -> float:
        """What a critic's own head needs."""
        if not self.method.has_critic:
            return 0.0
        scored = Scored.of(self.inventory, self.values, self.device, is_trained=True)
        return OneNumber(scored).backward(batch.scored)

    def no_grad(self, batch: Batch) -> Parts:
        """A pass that keeps nothing: one layer at a time, then the loss."""
        above = self.layers.above(batch.rows, batch.row_tokens) + self.head.forward(self._scored(batch))
        layer = self.layers.no_grad(batch.rows, batch.row_tokens)
        return {"layer": layer} if layer > above else {"loss": above}

    def generation(self) -> Parts:
        rows = generated_rows(self.values)
        batch = replace(self.batch, rows=rows)
        return {**generation(self.inventory, self.values, batch, self.layers), "inputs": 2 * 8 * batch.tokens}

    def step_copies(self) -> Parts:
        rules = coefficients()["optimizers"][self.values["optim"]]
        count = self.trained.parameters + self._critic_parameters
        copies = rules["step_copies"] * count * self.trained.bytes_each
        if "largest_copies" in rules:
            largest = max((m.parameters / m.count for m in self.inventory.modules), default=0)
            each = rules["largest_copies"]["float32" if self.trained.bytes_each == 4 else "short"]
            copies += each * min(largest, count) * 4
        return {"step": copies}
