"""Muon for the matrices, AdamW for everything else, as one optimizer to a Trainer.

    MuonWithAdamW(matrices=[...], decayed=[...], others=[...], lr=1e-3, weight_decay=0.01)

Muon steps along the nearest orthogonal matrix of the momentum (Jordan et al. 2024); `match_rms_adamw` scales its steps
to the size of AdamW's, so that AdamW's rates suit both (Liu et al. 2025). Embeddings, the head, norms and biases are no
matrices between layers and take AdamW. Both parts are torch's own; here they share groups and states, so that
scheduler, saving and resuming see a single optimizer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import AdamW, Muon

from trainers.losses.tokens import causal_model


class MuonWithAdamW(torch.optim.Optimizer):
    def __init__(
        self,
        *,
        matrices: Sequence[torch.nn.Parameter],
        decayed: Sequence[torch.nn.Parameter] = (),
        others: Sequence[torch.nn.Parameter] = (),
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [{"params": list(params)} for params in (decayed, others) if params]
        for group, decay in zip(groups, [weight_decay, 0.0] if decayed else [0.0], strict=False):
            group["weight_decay"] = decay
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            muon = Muon(list(matrices), lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            self._parts.append(muon)
        if groups:
            self._parts.append(AdamW(groups, lr=lr, fused=True))
        super().__init__([group for part in self._parts for group in part.param_groups], {"lr": lr})
        self._share()

    def step(self, closure: Any = None) -> None:
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let the parts work on this optimizer's own groups and states."""
        groups = iter(self.param_groups)
        for part in self._parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state


class UsesMuon:
    """For a transformers trainer."""

    def create_optimizer(self, *given: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            model, args = self.model, self.args
            decayed = set(self.get_decay_parameter_names(model))
            ends = {id(each.weight) for each in _ends(causal_model(model))}
            trained = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
            matrices = [each for _, each in trained if each.ndim == 2 and id(each) not in ends]
            rest = [(name, each) for name, each in trained if each.ndim != 2 or id(each) in ends]
            self.optimizer = MuonWithAdamW(
                matrices=matrices,
                decayed=[each for name, each in rest if name in decayed],
                others=[each for name, each in rest if name not in decayed],
                lr=args.learning_rate,
                weight_decay=args.weight_decay,
            )
        return self.optimizer


def _ends(model: Any) -> list[Any]:
    found = (model.get_input_embeddings(), model.get_output_embeddings())
    return [each for each in found if each is not None]
