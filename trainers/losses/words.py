"""Terms about an answer as a whole: words that it repeats, and words of the reference that it does not say anywhere.

Both ask how likely each word of the reference answer is at each of its places: a table of its tokens by its places, of
which only the rows of the head for these tokens are needed, never the whole vocabulary.

    repetition   what was said already and is not due is made unlikely: -log(1 - p), summed over those words
                 (unlikelihood training, Welleck et al. 2020, section 5.1)
    rouge        1 - ROUGE-1 recall of what the model expects to say: for each word the smaller of how often it is due
                 and how often it is expected (probabilistic n-gram matching, Shao et al. 2018)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from trainers.losses.tokens import ChangesTokens, Head, Tokens

_LEAST = 1e-6


@dataclass(frozen=True)
class _Answer:
    labels: torch.Tensor  # (A,)
    likely: torch.Tensor  # (A places, A tokens): log-probability of the answer's token s at place t


class _SeesWords(ChangesTokens):
    tells_terms = True
    sees_hidden = True
    values: dict[str, Any]

    def _terms(self, name: str, tokens: Tokens) -> torch.Tensor:
        """The weighted term of each token, (B, T-1), told."""
        found = [self._term(answer) for answer in _answers(tokens)]
        terms = tokens.spread(torch.cat(found) if found else tokens.log_probs.new_zeros(0))
        terms = self.values[f"{name}_weight"] * terms
        self.tell(name, terms)
        return terms

    def _term(self, answer: _Answer) -> torch.Tensor:  # (A,)
        raise NotImplementedError


class AvoidsRepetition(_SeesWords):
    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        return super().token_log_probs(tokens) - self._terms("repetition", tokens)

    def _term(self, answer: _Answer) -> torch.Tensor:
        return repetition(answer.labels, answer.likely)


class CoversReference(_SeesWords):
    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        return super().token_log_probs(tokens) - self._terms("rouge", tokens)

    def _term(self, answer: _Answer) -> torch.Tensor:
        return uncovered(answer.labels, answer.likely)


def repetition(labels: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """For each place the unlikelihood of the words said before it that are not due there, (A,)."""
    same = labels[:, None] == labels[None, :]  # (A, A)
    before = torch.ones_like(same).tril(-1)
    is_first = ~(same & before).any(1)
    candidates = before & ~same & is_first[None, :]
    unlikely = torch.log1p(-likely.exp().clamp(max=1 - _LEAST))
    return -(unlikely * candidates).sum(1)


def uncovered(labels: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """1 - expected ROUGE-1 recall, the same for each place, (A,)."""
    same = labels[:, None] == labels[None, :]
    is_first = ~(same & torch.ones_like(same).tril(-1)).any(1)
    due = same.sum(1)[is_first]  # (U,) different words
    expected = likely.exp().sum(0)[is_first]
    recall = torch.minimum(due, expected).sum() / len(labels)
    return (1 - recall).expand(len(labels))


def _answers(tokens: Tokens) -> Iterator[_Answer]:
    for hidden, labels, log_probs, mask in zip(
        tokens.hidden, tokens.labels, tokens.log_probs, tokens.mask, strict=True
    ):
        if mask.any():
            yield _Answer(labels[mask], _likely(tokens.head, hidden[mask], labels[mask], log_probs[mask]))


def _likely(head: Head, hidden: torch.Tensor, labels: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    weight, bias = head.module.weight, head.module.bias
    logits = (hidden @ weight[labels].T).float()  # (A, A)
    logits = head.bounded(logits if bias is None else logits + bias[labels].float())
    # The logit of what is due, less its log-probability, is the logarithm of the sum over the vocabulary.
    normaliser = logits.diagonal() - log_probs
    return (logits - normaliser[:, None]).clamp(max=0)
