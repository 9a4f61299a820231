"""PPO on top of trl's GRPO: a critic that foretells rewards takes the place of the comparison between answers.

`LearnsWithCritic` is mixed in before `LearnsFromRewards` and trl's GRPOTrainer, which write the answers, score them,
and clip the ratio of probabilities; its loss takes an advantage for each token. The critic is a layer of one number on
the policy's last hidden state, read in the policy's own pass, or on that of a model of its own (`value_model`), tuned
as the policy is. Rewards are spread over tokens, and the KL divergence
from the reference is part of them (`trainers.rewards.advantages`). Critic, running statistics and the KL weight are
kept with every checkpoint, so that a run goes on as if nothing had happened.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainers.rewards.advantages import (
    KLController,
    Running,
    explained_variance,
    generalised_advantages,
    token_rewards,
    value_loss,
    whitened,
)

CRITIC, STATE = "critic.safetensors", "critic.json"
_NAME = "critic"


class ValueModel(nn.Module):
    """A model of its own that judges: a layer of one number on its last hidden state."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model, self.head = model, _head(size, model)

    def forward(self, ids: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """(B, T) what is expected after each token of (B, T) ids."""
        decoder = _base(self.model).get_decoder()
        hidden = decoder(input_ids=ids, attention_mask=read, use_cache=False).last_hidden_state
        return self.head(hidden.to(self.head.weight.dtype)).squeeze(-1)


class LearnsWithCritic:
    values: dict[str, Any]
    """The run's. Set before training."""
    value_model: nn.Module | None = None
    """A model of its own for the critic, tuned as the policy is; None: the policy's. Set before training."""
    kl: KLController
    rewards_seen: Running
    _hidden: torch.Tensor | None = None
    _totals: torch.Tensor

    def begin_critic(self) -> None:
        """Put the critic on the model: to be called once, before training."""
        base = _base(self.accelerator.unwrap_model(self.model))
        size = base.config.get_text_config().hidden_size
        if self.value_model is None:
            critic: nn.Module = _head(size, base)
            base.get_decoder().register_forward_hook(self._note_hidden)
        else:
            critic = ValueModel(self.value_model, size)
            if self.args.gradient_checkpointing:
                _base(self.value_model).gradient_checkpointing_enable({"use_reentrant": False})
        self.model.add_module(_NAME, critic.to(self.accelerator.device))
        self.kl = KLController(self.beta, self.values.get("kl_target", 0.0))
        self.rewards_seen = Running()

    # -- answers and their advantages ----------------------------------------------------------------------------------

    def _calculate_rewards(self, *given: Any, **named: Any) -> torch.Tensor:
        found = super()._calculate_rewards(*given, **named)
        missing = torch.isnan(found).all(dim=1)
        totals = (found * self.reward_weights.to(found)).nansum(dim=1)
        self._totals = totals.masked_fill(missing, torch.nan)
        return found

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        made = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        logps, values = self._policy_now(made)
        made["old_per_token_logps"], made["old_values"] = logps, values
        totals, mask = self._settled(made, mode)
        reference = made.pop("ref_per_token_logps", logps)
        ratios = (logps - reference) * mask
        rewards = token_rewards(totals, ratios, mask, kl_coef=self.kl.coef)
        advantages, returns = generalised_advantages(
            rewards, values, mask, gamma=self.values["gamma"], lam=self.values["lam"]
        )
        made["advantages"] = whitened(advantages, mask) if self.values["whiten_advantages"] else advantages
        made["returns"], made["completion_mask"] = returns, mask.to(made["completion_mask"].dtype)
        kl = float(ratios.sum(dim=1).mean())
        self._metrics[mode]["kl"].append(kl)
        self._metrics[mode]["kl_coef"].append(self.kl.coef)
        self._metrics[mode]["explained_variance"].append(explained_variance(values, returns, mask))
        if mode == "train":
            self.kl.update(kl, len(totals))
        return made

    def _settled(self, made: dict[str, Any], mode: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) the answers' rewards as they are learned from, (B, C) the tokens that count.

        Answers without a reward teach nothing. One that was broken off costs `missing_eos_penalty`.
        """
        exact = self._head_now().weight.dtype
        totals, mask = self._totals.to(exact), made["completion_mask"].to(exact)
        known = ~torch.isnan(totals)
        ends = torch.tensor(sorted(self._ends()), device=totals.device)
        # Behind a shorter answer stands padding, which may be the token that ends one.
        broken_off = ~(torch.isin(made["completion_ids"], ends) & mask.bool()).any(dim=1)
        totals = totals - self.values["missing_eos_penalty"] * broken_off
        if self.values["normalize_rewards"]:
            if mode == "train":
                self.rewards_seen.add(totals[known])
            totals = self.rewards_seen.scaled(totals)
        return totals.nan_to_num(0.0), mask * known[:, None]

    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        known = ends if isinstance(ends, list) else [ends]
        return {token for token in (*known, self.processing_class.eos_token_id) if token is not None}

    def _policy_now(self, made: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the answers' tokens and the critic's values before each, (B, C) both."""
        size = self.args.per_device_train_batch_size if self.model.training else self.args.per_device_eval_batch_size
        ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
        read = torch.cat([made["prompt_mask"], made["completion_mask"]], dim=1)
        length, logps, values = made["completion_ids"].shape[1], [], []
        for part, seen in zip(ids.split(size), read.split(size), strict=True):
            with self._watching():
                logps.append(self._get_per_token_logps_and_entropies(self.model, part, seen, length)[0])
                values.append(self._values(part, seen, length))
        return torch.cat(logps), torch.cat(values)

    # -- the loss ------------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        mask, length = inputs["completion_mask"].to(self._head_now().weight.dtype), inputs["completion_ids"].shape[1]
        mode = "train" if self.model.training else "eval"
        beta, self.beta = self.beta, 0.0  # the divergence is part of the rewards already
        try:
            with self._watching():
                loss = super()._compute_loss(model, inputs)
                ids, read = (
                    torch.cat([inputs[f"prompt_{name}"], inputs[f"completion_{name}"]], dim=1)
                    for name in ("ids", "mask")
                )
                values = self._values(ids, read, length)
        finally:
            self.beta = beta
        found = value_loss(
            values, inputs["old_values"], inputs["returns"], mask, cliprange=self.values["cliprange_value"]
        )
        self._metrics[mode]["value_loss"].append(float(found.detach()))
        portions = self.current_gradient_accumulation_steps if mode == "train" else 1.0
        return loss + self.values["vf_coef"] * found / portions

    def _values(self, ids: torch.Tensor, read: torch.Tensor, length: int) -> torch.Tensor:
        """(B, C): what the critic says before each of the last `length` tokens of (B, T) ids."""
        critic = self.model.get_submodule(_NAME)
        if isinstance(critic, ValueModel):
            return critic(ids, read)[:, -length - 1 : -1]
        assert self._hidden is not None, "the policy's own pass comes first"
        return critic(self._hidden[:, -length - 1 : -1].to(critic.weight.dtype)).squeeze(-1)

    def _head_now(self) -> nn.Linear:
        critic = self.model.get_submodule(_NAME)
        return critic.head if isinstance(critic, ValueModel) else critic

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Keep the last hidden state of the passes within."""
        self._keeps, self._hidden = True, None
        try:
            yield
        finally:
            self._keeps, self._hidden = False, None

    _keeps = False

    def _note_hidden(self, module: Any, given: Any, outputs: Any) -> None:
        if self._keeps:
            self._hidden = outputs[0]

    # -- saving and going on -------------------------------------------------------------------------------------------

    @contextmanager
    def _without_critic(self) -> Iterator[nn.Module]:
        """What is saved and loaded as the model is the model alone."""
        critic = self.model._modules.pop(_NAME)
        try:
            yield critic
        finally:
            self.model.add_module(_NAME, critic)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        with self._without_critic() as critic:
            super()._save(output_dir, state_dict)
            save_file(_trained(critic), folder / CRITIC)
        state = {"kl": asdict(self.kl), "rewards": asdict(self.rewards_seen)}
        (folder / STATE).write_text(json.dumps(state), "utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if _NAME not in self.model._modules:  # another run's weights, to begin with; the critic comes later, and is new
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        folder = Path(resume_from_checkpoint)
        with self._without_critic() as critic:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            for name, weight in load_file(folder / CRITIC).items():
                critic.get_parameter(name).data.copy_(weight)
        state = json.loads((folder / STATE).read_text("utf-8"))
        self.kl, self.rewards_seen = KLController(**state["kl"]), Running(**state["rewards"])


def _head(size: int, model: nn.Module) -> nn.Linear:
    """A layer of one number that foretells nothing yet, so that advantages are rewards at first.

    It reckons in float32, or in the model's own numbers where these are finer.
    """
    head = nn.Linear(size, 1).to(torch.promote_types(_base(model).dtype, torch.float32))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _base(model: Any) -> Any:
    """The transformers model inside an adapter's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _trained(critic: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.detach().contiguous() for name, each in critic.named_parameters() if each.requires_grad}
