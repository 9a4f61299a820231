"""One contender in a process of its own: `python -m tests.bench.throughput.contenders NAME PLAN.json RESULT.json`.

studio          `trainers.sft` on a job folder, with the values of the plan and what the form fills in around them
trl             trl's SFTTrainer as it comes: bfloat16 and checkpointed activations, on a CPU too
trl, FORMAT     the same with what may be quicker here: activations kept, in float32 or bfloat16, compiled or not
llamafactory    its own trainer as it comes, in an environment of its own; knows nothing of the studio's packages
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

# LLaMA-Factory's environment has none of the studio's packages: this file stands alone there, beside `recording.py`.
try:
    from tests.bench.throughput.recording import Recorder, watching
except ImportError:
    from recording import Recorder, watching


def studio(plan: dict[str, Any], recorder: Recorder, scratch: Path) -> None:
    from tests.trainers.jobs import model_ref, run_here, write_dataset, write_spec
    from trainers import sft

    rows = write_dataset(scratch / "v1", plan["rows"])
    model, values = model_ref(Path(plan["model"])), plan["filled_in"]
    job = write_spec(
        scratch / "job", values=values, dataset=rows, model=model, threads=plan["threads"], seed=plan["seed"]
    )
    with watching(recorder):
        result = run_here(sft.main, job)
    if result.outcome != "succeeded":
        raise RuntimeError(f"{result.reason} {result.values}")


def trl(plan: dict[str, Any], recorder: Recorder, scratch: Path, *, dtype: str = "auto", **chosen: Any) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(plan["threads"])
    SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(plan["model"], dtype=dtype),
        args=SFTConfig(
            output_dir=str(scratch / "trl"),
            max_steps=plan["max_steps"],
            seed=plan["seed"],
            learning_rate=plan["learning_rate"],
            lr_scheduler_type=plan["lr_scheduler_type"],
            per_device_train_batch_size=plan["per_device_train_batch_size"],
            max_length=plan["max_length"],
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            **chosen,
        ),
        # Its loss on answers of `messages` refuses this model's chat template; of prompts and completions it does not.
        train_dataset=Dataset.from_list(
            [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in plan["rows"]]
        ),
        processing_class=AutoTokenizer.from_pretrained(plan["model"]),
        peft_config=LoraConfig(r=plan["lora_r"], lora_alpha=plan["lora_alpha"], target_modules="all-linear"),
        callbacks=[recorder],
    ).train()


def trl_keeping(dtype: str, **chosen: Any) -> Any:
    """Activations kept, weights and passes in this format."""
    quick = {"activation_checkpointing": False, "optim": "adamw_torch_fused"}
    return partial(trl, dtype=dtype, bf16=dtype == "bfloat16", **quick, **chosen)


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
            "seed": plan["seed"],
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
    "trl, float32": trl_keeping("float32"),
    "trl, bfloat16": trl_keeping("bfloat16"),
    "trl, float32, compiled": trl_keeping("float32", torch_compile=True),
    "llamafactory": llamafactory,
}


def main() -> None:
    name, plan, result = sys.argv[1], json.loads(Path(sys.argv[2]).read_text("utf-8")), Path(sys.argv[3])
    recorder = Recorder()
    CONTENDERS[name](plan, recorder, result.parent)
    recorder.write(result)


if __name__ == "__main__":
    main()
