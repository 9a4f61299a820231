"""Answer tokens that count more than others: those that keep a format, and those that were taken from the source.

    {"format_weight": 1.0}: in '{"city": "Lyon"}' the tokens '{"', '":', '"' and '"}' count twice
    {"source_weight": 1.0}: in the summary, "Lyon" and "1998" count twice if the text to sum up has them

Both are weights on the log-likelihood. A token is a sign if it has no letter and no digit, or is one of the tokenizer's
own marks, such as the end of the answer; a word from the source has a digit or at least three letters, and stands in
what the model was asked.
"""

from functools import cached_property
from typing import Any

import torch

from trainers.losses.tokens import ChangesTokens, Tokens

LEAST_LETTERS = 3


class _Emphasises(ChangesTokens):
    tells_terms = True
    sees_hidden = True
    values: dict[str, Any]

    @cached_property
    def _texts(self) -> list[str]:
        """What each token of the vocabulary reads."""
        tokenizer = self.processing_class
        size = self.model.get_input_embeddings().num_embeddings
        return tokenizer.batch_decode([[token] for token in range(size)], clean_up_tokenization_spaces=False)

    def _table(self, found: list[bool], *, marks: bool) -> torch.Tensor:  # (V,)
        """Yes or no for each token of the vocabulary; the tokenizer's own marks are all `marks`."""
        table = torch.tensor(found, device=self.args.device)
        table[[token for token in self.processing_class.all_special_ids if token < len(found)]] = marks
        return table

    def _emphasised(self, name: str, log_probs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        more = self.values[f"{name}_weight"] * log_probs * chosen
        self.tell(name, -more)
        return log_probs + more


class KeepsFormat(_Emphasises):
    """Signs count more."""

    @cached_property
    def _signs(self) -> torch.Tensor:  # (V,)
        found = [not any(letter.isalnum() for letter in text) for text in self._texts]
        return self._table(found, marks=True)

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        chosen = self._signs[tokens.labels.clamp(min=0)] & tokens.mask
        return self._emphasised("format", super().token_log_probs(tokens), chosen)


class KeepsToSource(_Emphasises):
    """Words of the source count more."""

    @cached_property
    def _words(self) -> torch.Tensor:  # (V,)
        found = [_is_telling(text) for text in self._texts]
        return self._table(found, marks=False)

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        chosen = torch.zeros_like(tokens.mask)
        for row, (ids, labels, mask) in enumerate(zip(tokens.input_ids, tokens.labels, tokens.mask, strict=True)):
            # What the model was asked: everything before the first learned token.
            first = int(mask.int().argmax())
            chosen[row] = torch.isin(labels, ids[: first + 1]) & mask
        chosen &= self._words[tokens.labels.clamp(min=0)]
        return self._emphasised("source", super().token_log_probs(tokens), chosen)


def _is_telling(text: str) -> bool:
    letters = [letter for letter in text if letter.isalnum()]
    return len(letters) >= LEAST_LETTERS or any(letter.isdigit() or ord(letter) > 0x2E7F for letter in letters)
