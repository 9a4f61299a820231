"""A reward for answers that could have been worded otherwise: the entropy of each answer token's distribution.

    loss = -log p(target) - weight * entropy          the confidence penalty of Pereyra et al. 2017

trl's head hands the entropy on with its gradient, so it costs nothing.
"""

from typing import Any

import torch

from trainers.losses.tokens import ChangesTokens, Tokens


class RewardsDiversity(ChangesTokens):
    tells_terms = True
    values: dict[str, Any]

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        reward = self.values["diversity_weight"] * tokens.entropy
        self.tell("diversity", -reward)
        return super().token_log_probs(tokens) + reward
