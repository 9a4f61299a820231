"""What stands in memory whatever the batch: weights, optimizer states, other models, gradients."""

from dataclasses import replace
from functools import cached_property

from studio.memory.adapters import weight_bytes
from studio.memory.methods import has_reference_model
from studio.memory.optimizers import state_bytes
from studio.memory.run import Configured
from studio.memory.stack import coefficients
from studio.memory.ways import DTYPE_BYTES
from studio.params.adversarial import passes

Parts = dict[str, float]


class Resting(Configured):
    """Part -> bytes of what does not grow with the batch."""

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
            parts["critic"] = (self.inventory.hidden_size + 1) * self.trained.bytes_each
        if self._has_value_model:
            parts["critic"] += weights + (self.trained.bytes if self.trained.is_adapter else 0)
        if self.values.get("reward_model"):
            parts["reward_model"] = weights
        if self.values.get("asked_models_bytes"):
            parts["asked_models"] = self.values["asked_models_bytes"]
        return parts

    @property
    def _has_value_model(self) -> bool:
        return self.method.has_critic and bool(self.values.get("value_model"))

    @property
    def _critic_parameters(self) -> int:
        """Trained weights that judge: a head of one number on the policy's layers, or a second model tuned alike, whose
        scores of words nobody asks for."""
        if not self.method.has_critic:
            return 0
        head = self.inventory.hidden_size + 1
        return head + (self._value_parameters if self._has_value_model else 0)

    @property
    def _value_parameters(self) -> int:
        words = self.inventory.vocab_size * self.inventory.hidden_size if self.inventory.has_head else 0
        return self.trained.parameters - (words if self.is_full else 0)

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
