"""How surprised is a model by the answers of a data set's rows? The loss that training would start from, row by row.

    answer_losses(model, renderer, [(1, Sample(messages=[...])), ...], max_length=1024, findings=Findings())
        ->  RowLoss(row=1, tokens=5, loss=2.31), ...

The loss is the mean negative log-likelihood of the answer tokens in nats: what `model(input_ids, labels=labels).loss`
gives for the row alone. Rows go through the model together, the long ones first and those of like length side by side;
padding is masked, so a row's loss does not depend on its neighbours but for the last bits of a floating-point sum.
Memory is bounded by what a batch may hold. Loading a model is `trainers.models.generation`'s.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from trainers.rows.data import IGNORED, Findings, Rendered, Renderer, Sample, render_rows

WINDOW_ROWS = 512
"""Rows that are sorted by length at once."""
MAX_BATCH_TOKENS = 8192
MAX_BATCH_LOGITS = 1 << 26
"""256 MiB in float32. A single row may need more: training it would, too."""


@dataclass(frozen=True)
class RowLoss:
    row: int
    tokens: int
    """Answer tokens that the model was asked for."""
    loss: float
    """Mean negative log-likelihood of those, in nats."""


def answer_losses(
    model: Any,
    renderer: Renderer,
    rows: Iterable[tuple[int, Sample]],
    *,
    max_length: int | None,
    findings: Findings,
) -> Iterator[RowLoss]:
    """The loss of every row that could be trained on; within a window of WINDOW_ROWS the long ones come first.

    Args:
        model: in evaluation mode, on its device.
        max_length: rows are cut there, as training cuts them.
        findings: takes the numbers of the rows that were cut or left out, by alert code.
    """
    rendered = render_rows(rows, renderer, max_length=max_length, findings=findings)
    vocab_size, pad = model.config.get_text_config().vocab_size, renderer.tokenizer.pad_token_id
    while window := list(islice(rendered, WINDOW_ROWS)):
        asked = []
        for row in window:
            if _first_answer(row) is None:  # all that is learned is the first token, which nothing foretells
                findings.add("rows_without_answer", row.row)
            else:
                asked.append(row)
        for batch in batches(asked, vocab_size=vocab_size):
            yield from _batch_losses(model, batch, pad)


def batches(rows: list[Rendered], *, vocab_size: int) -> Iterator[list[Rendered]]:
    """Rows of like length together, the longest first, so that memory that is too small shows at once."""
    batch: list[Rendered] = []
    for row in sorted(rows, key=lambda each: (-len(each.input_ids), each.row)):
        if batch and not _fits([*batch, row], vocab_size):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _fits(batch: list[Rendered], vocab_size: int) -> bool:
    longest = len(batch[0].input_ids)
    asked = longest - min(_first_answer(row) for row in batch)
    return len(batch) * longest <= MAX_BATCH_TOKENS and len(batch) * asked * vocab_size <= MAX_BATCH_LOGITS


def _first_answer(row: Rendered) -> int | None:
    """Where the first token stands that is learned and has one before it."""
    return next((place for place, label in enumerate(row.labels) if place and label != IGNORED), None)


def _batch_losses(model: Any, batch: list[Rendered], pad: int) -> Iterator[RowLoss]:
    ids = _padded([row.input_ids for row in batch], pad).to(model.device)  # (B, T)
    read = _padded([[1] * len(row.input_ids) for row in batch], 0).to(model.device)  # (B, T)
    targets = _padded([row.labels[1:] for row in batch], IGNORED).to(model.device)  # (B, T - 1)
    asked = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)  # (K,) places whose next token some row is asked for
    targets = targets[:, asked]  # (B, K)
    with torch.inference_mode():
        logits = _logits(model, ids, read, asked)  # (B, K, V)
        is_answer = targets != IGNORED
        losses = torch.zeros(targets.shape, dtype=torch.float64, device=targets.device)
        losses[is_answer] = cross_entropy(logits[is_answer].float(), targets[is_answer], reduction="none").double()
        tokens = is_answer.sum(dim=1)
        means = losses.sum(dim=1) / tokens
    for row, count, mean in zip(batch, tokens.tolist(), means.tolist(), strict=True):
        yield RowLoss(row.row, count, mean)


def _logits(model: Any, ids: torch.Tensor, read: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The logits at the places that count, (B, K, V); from the first of them on where a model can leave others out.

    Places count from the end: the tokens of a learned prompt, which stand before a row, have logits too.
    """
    base, longest = model.get_base_model() if hasattr(model, "get_base_model") else model, ids.shape[1]
    fewer = {"logits_to_keep": longest - int(asked[0])}
    kept = fewer if "logits_to_keep" in inspect.signature(base.forward).parameters else {}
    return model(input_ids=ids, attention_mask=read, use_cache=False, **kept).logits[:, asked - longest]


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])
