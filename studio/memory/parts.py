"""The parts of memory in each phase of a run, for one configuration.

Formulas come from what autograd, trl and peft keep; numbers that depend on library versions stand in coefficients.yaml
with their evidence. Batches are counted at their longest row.
"""

from dataclasses import replace

from studio.memory.adapters import copies_beside, dequantised, kept_beside, virtual_tokens
from studio.memory.asked import judging_bytes
from studio.memory.generation import generation
from studio.memory.losses import Chunked, OneNumber, Scored, SelectedLogits
from studio.memory.methods import Batch, asks_reference, generated_rows
from studio.memory.prefix import in_cache
from studio.memory.resting import Parts, Resting
from studio.memory.stack import coefficients


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
    if run.values.get("asked_models_token_bytes"):
        judging = judging_bytes(run.values["asked_models_token_bytes"], batch.row_tokens)
        phases["judging"] = {**resting, **run.inputs(batch), "judging": judging}
    if run.values.get("validation_split", 0) > 0:
        phases["evaluation"] = {**resting, **run.evaluation()}
    return phases


def _larger(one: Parts, other: Parts) -> Parts:
    return max(one, other, key=lambda parts: sum(parts.values()))


def _over(one: Parts, other: Parts) -> Parts:
    """Both at once."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}


class Run(Resting):
    """One configuration; each method is a group of parts in bytes."""

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
        streams = 2 if self._has_value_model else 1
        scores = (layers + self.inventory.num_hidden_layers - self._trained_layers) * self._expert_scores(batch)
        return {"activations": (layers * each + below + self._kept_frozen(batch) + scores) * streams}

    def _expert_scores(self, batch: Batch) -> float:
        """What a layer's router gave, until the balancing loss has read it; on the way back as much is its gradient."""
        return batch.tokens * self.inventory.num_experts * self.width if self.balances_experts else 0.0

    def _balancing(self, batch: Batch) -> float:
        """That loss keeps the softmax of all scores, in float32, after the head's own loss is there."""
        if not self.balances_experts:
            return 0.0
        return 4.0 * batch.tokens * self.inventory.num_experts * self.inventory.num_hidden_layers

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
        # Its own share of the cache is part of the layer.
        forward += in_cache(self.inventory, self.values, batch) * (1 - 1 / self.inventory.num_hidden_layers)
        below = self._activations(batch, max(0.0, self._trained_layers - 1))
        loss = {**self.kept(batch), **self.loss(batch)}
        return _larger(
            self._after_value_model(loss) if self._has_value_model else loss,
            {**below, **self.inputs(batch), "layer": forward},
        )

    def _after_value_model(self, loss: Parts) -> Parts:
        """The critic's loss goes back first: its activations are gone by then, and its gradients are there."""
        gradients = {"gradients": self._value_parameters * self.trained.bytes_each}
        return {**loss, "activations": loss["activations"] / 2} | (self.kept_gradients() or gradients)

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
        scored = self._scored(batch)
        kept = self.head.kept(scored)
        head = max(self.head.backward(scored), kept + self._cache_handed_out(batch), kept + self._balancing(batch))
        return {"loss": self._above(batch) + head + self._values(batch)}

    def loss_kept(self, batch: Batch) -> float:
        return self._above(batch) + self.head.kept(self._scored(batch))

    def _scored(self, batch: Batch) -> int:
        """Tokens that the head works on: without Triton trl's chunked head takes every position but the last."""
        if isinstance(self.head, Chunked) and self.device == "cpu":
            return batch.rows * (batch.row_tokens - 1)
        return batch.scored

    def _above(self, batch: Batch) -> float:
        """Less than nothing where a family lets go of its embeddings (OPT) when the last layer is through."""
        output = batch.tokens * self.inventory.hidden_size * self.width if self.head.drops_hidden else 0
        return self.layers.above(batch.rows, batch.row_tokens) - output

    def _cache_handed_out(self, batch: Batch) -> float:
        """A prefix's keys and values, which a model that scores whole rows hands out with the scores."""
        return 0.0 if self.method.has_head else in_cache(self.inventory, self.values, batch)

    def _values(self, batch: Batch) -> float:
        """What a critic's own head needs."""
        if not self.method.has_critic:
            return 0.0
        scored = Scored.of(self.inventory, self.values, self.device, is_trained=True)
        return OneNumber(scored).backward(batch.scored)

    def no_grad(self, batch: Batch) -> Parts:
        """A pass that keeps nothing: one layer at a time, its input beside the embeddings, then the loss."""
        hidden = batch.tokens * self.inventory.hidden_size * self.width
        layer = self.layers.no_grad(batch.rows, batch.row_tokens) + hidden
        # All scores at once are asked of the model; what they were made of is gone before they are worked on.
        stays = 0 if isinstance(self.head, SelectedLogits) else hidden
        loss = stays + self.head.forward(self._scored(batch))
        return {"layer": layer} if layer > loss else {"loss": loss}

    def evaluation(self) -> Parts:
        """On a batch of its own size; all layers' scores of their experts stay until they are balanced."""
        batch = self.evaluation_batch
        scores = self.inventory.num_hidden_layers * self._expert_scores(batch)
        return {**self.no_grad(batch), **self.inputs(batch), **({"activations": scores} if scores else {})}

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
