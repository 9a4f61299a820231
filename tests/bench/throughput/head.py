"""What leaving out unlearned positions saves on a CPU: `python -m tests.bench.throughput.head`.

One batch of the bench forwards and backwards through the starter model with LoRA, in processor seconds, before and
after `trainers.losses.answers` is put on it.
"""

import statistics
import time
import warnings
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from trl.trainer.utils import add_fused_lm_head

from tests.bench.throughput.__main__ import PLAN, rows_and_model
from trainers.losses.answers import _Answers
from trainers.models.loading import load_model, load_tokenizer
from trainers.rows.data import IGNORED, Renderer, Sample

TIMES = 3


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)
    plan = rows_and_model()
    base = load_model(plan["model"], dtype="float32", device="cpu")
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    adapter = LoraConfig(r=PLAN["lora_r"], lora_alpha=PLAN["lora_alpha"], target_modules="all-linear")
    model, batch = get_peft_model(base, adapter).train(), _batch(plan)
    whole = _seconds(model, batch)
    _Answers(base)
    answers = _seconds(model, batch)
    learned, size = int((batch["labels"] != IGNORED).sum()), batch["labels"].numel()
    print(f"{learned} of {size} positions learned: {whole:.2f} s, {answers:.2f} s, {whole / answers:.2f} times")  # noqa: T201


def _batch(plan: dict[str, Any]) -> dict[str, torch.Tensor]:
    tokenizer = load_tokenizer(plan["model"])
    renderer = Renderer(tokenizer)
    samples = [Sample(messages=row["messages"]) for row in plan["rows"][: PLAN["per_device_train_batch_size"]]]
    rows = [renderer.render(number, sample) for number, sample in enumerate(samples)]
    longest = max(len(row.input_ids) for row in rows)

    def padded(values: list[list[int]], with_: int) -> torch.Tensor:  # (B, T)
        return torch.tensor([each + [with_] * (longest - len(each)) for each in values])

    return {
        "input_ids": padded([row.input_ids for row in rows], tokenizer.pad_token_id),
        "attention_mask": padded([[1] * len(row.input_ids) for row in rows], 0),
        "labels": padded([row.labels for row in rows], IGNORED),
    }


def _seconds(model: Any, batch: dict[str, torch.Tensor]) -> float:
    """Median of a few passes, after one that does not count."""
    return statistics.median([_pass(model, batch) for _ in range(TIMES + 1)][1:])


def _pass(model: Any, batch: dict[str, torch.Tensor]) -> float:
    began = time.process_time()
    outputs = model(**batch, fused_lm_head=True)
    (-outputs.log_probs.sum() / outputs.label_mask.sum()).backward()
    return time.process_time() - began


if __name__ == "__main__":
    main()
