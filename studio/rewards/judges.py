"""The models that a reward asks: which there are, and a reward that names them for certain.

    {"name": "reward_model", "model": "run:12"}  ->  {"name": "reward_model", "model": "31", "mean": 0.4, "spread": 1.2}

A number is a checkpoint, run:12 the best checkpoint of a run, anything else an untouched model. Pure: what there is
comes from the registry (`studio.db.judges`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.graders.declared import TRAINER, declared
from studio.rewards.recipe import Recipe, Rule, parse

REWARD_MODEL, JUDGE_MODEL = "reward_model", "judge_model"
RUN = "run:"
BYTES, TOKEN_BYTES = "asked_models_bytes", "asked_models_token_bytes"
"""No settings: what the memory calculator is told of them, their weights and what the largest needs for a token."""
FINISHED = ("", "succeeded", "stopped")
"""States of a run whose models may be asked; an untouched model comes from none."""
MOST_KNOWN = 5
"""Names in a refusal."""


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """A model that may be asked."""

    name: str
    """The number of a checkpoint, or a model's name."""
    title: str
    """As a person knows it: the run's title and step, or the model's name."""
    gives: str
    """scores (a reward model), labels (a classifier) or text."""
    run: int | None = None
    is_best: bool = False
    """The checkpoint that stands for its run."""
    state: str = ""
    """Its run's; empty for an untouched model."""
    mean: float | None = None
    spread: float | None = None
    accuracy: float | None = None
    """Of a reward model, on the pairs that were held out; None where none were."""
    parameters: int = 0
    squeezed_bits: int = 0
    """4 or 8 where its base is compressed."""
    token_values: int = 0
    """Numbers that it needs for each token it reads (`studio.memory.asked`); 0 where nobody knows."""

    def weight_bytes(self, *, on_gpu: bool) -> int:
        """Its weights as a job loads them: 2-byte numbers on a GPU, 4-byte ones else (`trainers.models.loading`)."""
        bits = {4: 4.8, 8: 8.8}.get(self.squeezed_bits, 16 if on_gpu else 32)
        return int(self.parameters * bits / 8)


Judges = Mapping[str, Judge]
"""By every name that each goes by."""


def by_name(known: list[Judge]) -> dict[str, Judge]:
    runs = {f"{RUN}{each.run}": each for each in known if each.is_best}
    return {each.name: each for each in known} | runs


def asked_names(recipe: Recipe) -> list[str]:
    """Names of the models that it asks, each once."""
    named = [str(rule.options.get("model", "")) for rule in recipe.rules if _asks(rule)]
    return list(dict.fromkeys(named))


def settled(recipe: Recipe, known: Judges) -> Recipe:
    """The reward with every model named by checkpoint or model, and a reward model's mean and spread written down.

    Raises:
        RefusedInput: no such model, one that does not give what the rule needs, one whose run is not over or failed,
            or a reward model whose scores' spread nobody knows.
    """
    return msgspec.structs.replace(recipe, rules=tuple(_settled(rule, known) for rule in recipe.rules))


def with_bytes(values: Mapping[str, Any], known: Judges, *, on_gpu: bool) -> Mapping[str, Any]:
    """A run's values with `asked_models_bytes`, the weights of the models that its reward asks; as they are without.

    Each lies in memory once, beside the policy, however many rules ask it. They are asked one after the other.
    """
    recipe = parse(values["rewards"]) if values.get("rewards") else None
    found = [known[name] for name in asked_names(recipe) if name in known] if recipe else []
    size = sum(each.weight_bytes(on_gpu=on_gpu) for each in {each.name: each for each in found}.values())
    each_token = max((each.token_values for each in found), default=0) * (2 if on_gpu else 4)
    told = {BYTES: size, TOKEN_BYTES: each_token}
    return {**values, **{name: count for name, count in told.items() if count}}


def _settled(rule: Rule, known: Judges) -> Rule:
    if not _asks(rule):
        return rule
    name = str(rule.options.get("model", "")).strip()
    wants = "scores" if rule.name == REWARD_MODEL else "text"
    found = known.get(name)
    if found is None:
        fitting = [each.name for each in known.values() if each.gives == wants]
        listed = ", ".join(list(dict.fromkeys(fitting))[:MOST_KNOWN]) or "–"
        raise RefusedInput(f"reward.unknown_{rule.name}", name=name[:40], known=listed)
    if found.gives != wants:
        raise RefusedInput(f"reward.no_{rule.name}", name=found.title)
    _refuse_unfinished(found)
    options = {**rule.options, "model": found.name}
    if rule.name == REWARD_MODEL and rule.options.get("spread") is None:
        if found.mean is None or not found.spread:
            raise RefusedInput("reward.no_scores_kept", name=found.title)
        options |= {"mean": found.mean, "spread": found.spread}
    return msgspec.structs.replace(rule, options=options)


def _refuse_unfinished(found: Judge) -> None:
    if found.state in ("failed", "lost", "cancelled"):
        raise RefusedInput("reward.run_failed", name=found.title, run=found.run)
    if found.state not in FINISHED:
        raise RefusedInput("reward.run_not_over", name=found.title, run=found.run)


def _asks(rule: Rule) -> bool:
    return declared(rule.name).runs == TRAINER
