"""One contender in a process of its own: `python -m tests.bench.throughput.contenders NAME PLAN.json RESULT.json`.

studio          `trainers.sft` on a job folder, with the values of the plan and what the form fills in for its speed
trl             trl's SFTTrainer as it comes: bfloat16 and checkpointed activations, on a CPU too
trl at its best the same with what is quickest here: float32, activations kept
llamafactory    its own trainer as it comes, in an environment of its own; knows nothing of the studio's packages
"""

import json
import sys
from pathlib import Path
from typing import Any

# LLaMA-Factory's environment has none of the studio's packages: this file stands alone there, beside `recording.py`.
try:
    from tests.bench.throughput.recording import Recorder
except ImportError:
    from recording import Recorder


OWN = {"save_steps": 10_000, "lora_dropout": 0.0, "padding_free": True}
"""Saving is not measured, no contender has dropout, and the form joins such rows by itself."""


def studio(plan: dict[str, Any], recorder: Recorder, scratch: Path) -> None:
    from tests.trainers.jobs import SFT, model_ref, run_here, write_dataset, write_spec
    from trainers import sft
    from trainers.training import recipe

    build = recipe.build

    def watched(*given: Any, **named: Any) -> Any:
        trainer = build(*given, **named)
        trainer.add_callback(recorder)
        return trainer

    recipe.build = watched
    values = SFT | {name: plan[name] for name in plan if name in SFT} | OWN
    rows = write_dataset(scratch / "v1", plan["rows"])
    job = write_spec(
        scratch / "job", values=values, dataset=rows, model=model_ref(Path(plan["model"])), threads=plan["threads"]
    )
    result = run_here(sft.main, job)
    if result.outcome != "succeeded":
        raise RuntimeError(f"{result.reason} {result.values}")


def trl(plan: dict[str, Any], recorder: Recorder, scratch: Path, **chosen: Any) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(plan["threads"])
    dtype = torch.float32 if chosen else "auto"
    SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(plan["model"], dtype=dtype),
        args=SFTConfig(
            output_dir=str(scratch / "trl"),
            max_steps=plan["max_steps"],
            learning_rate=plan["learning_rate"],
            lr_scheduler_type=plan["lr_scheduler_type"],
            per_device_train_batch_size=plan["per_device_train_batch_size"],
            max_length=plan["max_length"],
            assistant_only_loss=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            **chosen,
        ),
        train_dataset=Dataset.from_list(plan["rows"]),
        processing_class=AutoTokenizer.from_pretrained(plan["model"]),
        peft_config=LoraConfig(r=plan["lora_r"], lora_alpha=plan["lora_alpha"], target_modules="all-linear"),
        callbacks=[recorder],
    ).train()


def trl_at_its_best(plan: dict[str, Any], recorder: Recorder, scratch: Path) -> None:
    trl(plan, recorder, scratch, bf16=False, activation_checkpointing=False, optim="adamw_torch_fused")


def llamafactory(plan: dict[str, Any], recorder: Recorder, scratch: Path) -> None:
    import torch
    from llamafactory.train.tuner import run_exp

    torch.set_num_threads(plan["threads"])
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    known = {
        "rows": {
            "file_name": "rows.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {**tags, "system_tag": "system"},
        }
    }
    (scratch / "rows.json").write_text(json.dumps(plan["rows"]), "utf-8")
    (scratch / "dataset_info.json").write_text(json.dumps(known), "utf-8")
    run_exp(
        {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": plan["model"],
            "dataset": "rows",
            "dataset_dir": str(scratch),
            "template": "smollm2",
            "finetuning_type": "lora",
            "lora_rank": plan["lora_r"],
            "lora_alpha": plan["lora_alpha"],
            "lora_target": "all",
            "cutoff_len": plan["max_length"],
            "output_dir": str(scratch / "out"),
            "overwrite_output_dir": True,
            "per_device_train_batch_size": plan["per_device_train_batch_size"],
            "gradient_accumulation_steps": 1,
            "learning_rate": plan["learning_rate"],
            "lr_scheduler_type": plan["lr_scheduler_type"],
            "max_steps": plan["max_steps"],
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "overwrite_cache": True,
            "preprocessing_num_workers": 1,
        },
        callbacks=[recorder],
    )


CONTENDERS = {
    "studio": studio,
    "trl": trl,
    "trl at its best": trl_at_its_best,
    "llamafactory": llamafactory,
}


def main() -> None:
    name, plan, result = sys.argv[1], json.loads(Path(sys.argv[2]).read_text("utf-8")), Path(sys.argv[3])
    recorder = Recorder()
    CONTENDERS[name](plan, recorder, result.parent)
    recorder.write(result)


if __name__ == "__main__":
    main()
