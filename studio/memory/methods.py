"""What a training method asks of the memory beyond a model's layers: rows, scored tokens, a reference, generation.

    batch_of(METHODS["dpo"], values, longest_row=700)  ->  Batch(rows=16, row_tokens=700, scored_tokens=700)

Read in trl 1.16 (trainer/*_trainer.py, experimental/cpo, experimental/orpo); PPO is the studio's own, after the design
in docs/design.md. Settings are named as trl spells them; one that is left out has trl's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import RefusedInput
from studio.memory.ways import TRAINS_OWN_WEIGHTS

MAX_COMPLETION_LENGTH = 512
"""trl's default for grpo and rloo."""


@dataclass(frozen=True, kw_only=True)
class Method:
    name: str
    rows_per_example: int = 1
    """2 where a chosen and a rejected answer go through the model together."""
    has_head: bool = True
    """Every token is scored against the vocabulary; a reward model has one number a token instead."""
    builds_logits: bool = False
    """Its trainer asks for all logits, whatever the loss kernel."""
    reference: str | None = None
    """When the reference model is asked: training (activations are kept meanwhile), scoring (they are not)."""
    default_beta: float = 0.1
    """With a beta of 0 a method that scores answers needs no reference."""
    generates: bool = False
    """The model writes the answers that it learns from."""
    has_critic: bool = False
    disables_dropout: bool = False
    """trl switches every dropout off by default."""
    prepares_kbit: bool = False
    """trl applies peft's prepare_model_for_kbit_training to a compressed model."""
    batches_at_once: int = 1
    """kto brings every prompt a second time with another one's answer."""
    has_labels: bool = True
    """A batch has a label for each token beside number and mask; of a reward model or a class of a row it has not."""
    balances_experts: bool = False
    """trl adds the loss that keeps experts equally busy (its newer versions: coefficients.yaml)."""
    counts_right: bool = False
    """Its trainer asks trl's head whether each token was the likeliest."""
    always_packs: bool = False
    """Every row is as long as `max_length`."""


METHODS = {
    method.name: method
    for method in (
        Method(name="sft", balances_experts=True, counts_right=True),
        Method(name="pretrain", balances_experts=True, counts_right=True, always_packs=True),
        Method(name="classify", has_head=False, has_labels=False),
        Method(name="reward", rows_per_example=2, has_head=False, has_labels=False, disables_dropout=True),
        Method(
            name="dpo",
            rows_per_example=2,
            reference="training",
            disables_dropout=True,
            balances_experts=True,
            counts_right=True,
        ),
        Method(name="cpo", rows_per_example=2, builds_logits=True, disables_dropout=True, prepares_kbit=True),
        Method(name="orpo", rows_per_example=2, builds_logits=True, disables_dropout=True, prepares_kbit=True),
        Method(name="kto", reference="training", disables_dropout=True, batches_at_once=2, balances_experts=True),
        Method(name="grpo", reference="scoring", default_beta=0.0, generates=True, balances_experts=True),
        Method(name="rloo", reference="scoring", default_beta=0.05, generates=True, balances_experts=True),
        Method(name="ppo", reference="scoring", default_beta=0.05, generates=True, has_critic=True),
    )
}
_LOSS_TYPES = {"hinge": "dpo", "ipo": "dpo", "robust": "dpo", "simpo": "cpo"}
"""Losses that people call methods."""


def method_of(name: str) -> Method:
    """The method of this name, or that has a loss of this name.

    Raises:
        RefusedInput: unknown_method.
    """
    found = METHODS.get(_LOSS_TYPES.get(name, name))
    if found is None:
        raise RefusedInput("memory.unknown_method", method=name, known=", ".join((*METHODS, *_LOSS_TYPES)))
    return found


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What goes through the model at once."""

    rows: int
    row_tokens: int
    """Of the longest row, and so of every row."""
    scored_tokens: int
    """Of a row, those whose probabilities are asked for."""
    prompt_tokens: int = 0
    """Of a row, those that were there before the model wrote."""

    @property
    def tokens(self) -> int:
        return self.rows * self.row_tokens

    @property
    def scored(self) -> int:
        return self.rows * self.scored_tokens


def batch_of(method: Method, values: Mapping[str, Any], longest_row: int, *, size: int) -> Batch:
    """The device batch of `size` examples; a method that writes its answers counts answers, as trl does.

    Args:
        longest_row: tokens of the longest row; of the longest prompt where the answers are written.
    """
    rows = size * method.rows_per_example
    if method.generates:
        prompt = min(longest_row, values.get("max_prompt_length") or longest_row)
        answer = values.get("max_completion_length") or MAX_COMPLETION_LENGTH
        return Batch(rows=rows, row_tokens=prompt + answer, scored_tokens=answer, prompt_tokens=prompt)
    limit = values.get("max_length") or longest_row
    length = limit if values.get("packing") or method.always_packs else min(longest_row, limit)
    return Batch(rows=rows, row_tokens=length, scored_tokens=length)


def generated_rows(values: Mapping[str, Any]) -> int:
    """Answers that are written at once: those of all batches until the next update (trl: `steps_per_generation`)."""
    batches = values.get("steps_per_generation") or values["gradient_accumulation_steps"]
    return values["per_device_train_batch_size"] * batches


def asks_reference(method: Method, values: Mapping[str, Any]) -> bool:
    """Whether log-probabilities of a reference model are computed while the run goes on."""
    if method.reference == "training":
        return not values.get("precompute_ref_log_probs", False)
    return method.reference == "scoring" and values.get("beta", method.default_beta) != 0


def asks_beside(values: Mapping[str, Any]) -> bool:
    """Whether each batch goes through the reference as well while it is learned from (dpo, kto)."""
    method = METHODS[values.get("method", "sft")]
    return method.reference == "training" and asks_reference(method, values)


def has_reference_model(method: Method, values: Mapping[str, Any]) -> bool:
    """Whether the reference is a second copy of the model; an adapter is switched off instead."""
    return values["tuning"] in TRAINS_OWN_WEIGHTS and asks_reference(method, values)


def scores_old_answers(method: Method, values: Mapping[str, Any]) -> bool:
    """Whether the answers are scored once more before the first update (trl: old_per_token_logps)."""
    if not method.generates:
        return False
    batches = values.get("steps_per_generation") or values["gradient_accumulation_steps"]
    every = batches * values.get("num_iterations", 1)
    return method.has_critic or method.name == "rloo" or values["gradient_accumulation_steps"] % every != 0
