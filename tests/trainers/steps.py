"""Real training steps of trl's trainers on tiny random models, their bytes counted by phase.

seen = watched("dpo", config, folder, tuning="lora")
    -> Seen(row_tokens=192, loss=..., backward=..., step=..., before=...)
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, TrainerCallback

from studio.memory.methods import METHODS
from studio.memory.ways import TRAINS_OWN_WEIGHTS
from studio.params.table import parameters
from trainers.models.loading import load_model, squeezed
from trainers.tracing.storages import Storages
from trainers.tuning import bottleneck, vectors

VOCABULARY = 2048
PROMPT, ANSWER, WRITTEN = 64, 96, 40
"""Tokens of a prompt, of an answer, and of one that the model writes; every row is as long as every other but one."""
PAIRS = ("dpo", "cpo", "orpo", "reward")
WRITES = ("grpo", "rloo", "ppo")
BOTTLENECK = 16
LABELS = 2
"""Of a head that classifies."""


@dataclass
class Seen:
    """The most bytes in each part of the last step, weights aside."""

    row_tokens: int = 0
    before: int = 0
    """While the batch is made ready: answers are written and scored."""
    loss: int = 0
    """From the forward pass until the loss has come back to the last layer."""
    backward: int = 0
    step: int = 0
    evaluation: int = 0


class Watch(TrainerCallback):
    """Sorts the moments of a step by what the trainer was doing."""

    def __init__(self) -> None:
        self.storages, self.seen = Storages(), Seen()

    def cut(self, name: str) -> None:
        """What happened since the last cut was of this kind."""
        if self.storages.moments:
            setattr(self.seen, name, max(getattr(self.seen, name), *self.storages.moments))
        self.storages.moments = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.seen = Seen()
        self.storages.moments = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.cut("backward")

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.cut("step")


def watched(
    method: str,
    config: Any,
    folder: Path,
    *,
    tuning: str,
    optim: str = "adamw_torch_fused",
    has_value_model: bool = False,
    evaluates: bool = False,
    **settings: Any,
) -> Seen:
    """Two or three steps; optimizer states stand when the last one is looked at.

    Args:
        has_value_model: ppo's critic reads a model of its own, tuned as the policy is.
        evaluates: after the last step on the same rows, in batches of the same size.
    """
    watch = Watch()
    trainer = _trainer(
        watch,
        method,
        config,
        folder,
        tuning=tuning,
        optim=optim,
        has_value_model=has_value_model,
        evaluates=evaluates,
        **settings,
    )
    layers = _layers(trainer.model, config.num_hidden_layers)
    layers[-1].register_forward_hook(_at_last_layer(watch))
    trainer.model.get_input_embeddings().register_forward_hook(_note_length(watch))
    kept = [trainer.model, getattr(trainer, "ref_model", None)]
    watch.storages.ignore(
        [each for model in kept if model is not None for each in (*model.parameters(), *model.buffers())]
    )
    with watch.storages:
        trainer.train()
        watch.storages.moments = []
        if evaluates:
            trainer.evaluate()
            watch.cut("evaluation")
    return watch.seen


def _trainer(
    watch: Watch,
    method: str,
    config: Any,
    folder: Path,
    *,
    tuning: str,
    optim: str,
    has_value_model: bool,
    evaluates: bool,
    **settings: Any,
) -> Any:
    """The method's trainer with a random model, tuned as asked, that tells the watch where it is."""
    mixins, trainer_class, config_class = trainers_of(method)

    class Watched(*mixins, trainer_class):
        def compute_loss(self, *given: Any, **named: Any) -> Any:
            watch.cut("before" if self.model.training else "evaluation")
            return super().compute_loss(*given, **named)

        def training_step(self, *given: Any, **named: Any) -> Any:
            loss = super().training_step(*given, **named)
            watch.cut("backward")
            return loss

    torch.manual_seed(0)
    model = _model(method, config, folder, is_compressed=tuning == "qlora")
    if tuning == "bottleneck":
        model.requires_grad_(False)
        bottleneck.put_on(model, BOTTLENECK)
        model.enable_input_require_grads()
    more: dict[str, Any] = {"reward_funcs": _reward} if method in WRITES else {}
    if tuning in TRAINS_OWN_WEIGHTS and method in ("dpo", "kto"):
        more["ref_model"] = copy.deepcopy(model)
    adapter = adapter_of(tuning, "CAUSAL_LM" if METHODS[method].has_head else "SEQ_CLS", model)
    second = _adapted(copy.deepcopy(model), adapter) if has_value_model else None
    if method == "classify":
        model = _adapted(model, adapter)
    else:
        more["peft_config"] = adapter
    trainer = Watched(
        model=model,
        args=config_class(**_arguments(method, folder, optim) | settings),
        train_dataset=_rows(method),
        eval_dataset=_rows(method) if evaluates else None,
        processing_class=word_tokenizer(),
        callbacks=[watch],
        **more,
    )
    if method == "ppo":
        trainer.values = {each.name: each.default for each in parameters("ppo")}
        trainer.value_model = second
        trainer.begin_critic()
    if tuning == "freeze":
        _freeze(trainer.model, config.num_hidden_layers)
    return trainer


def trainers_of(method: str) -> tuple[tuple[Any, ...], Any, Any]:
    """What is mixed in before the trainer, the trainer, and its settings."""
    import importlib

    if method == "classify":
        import transformers

        from trainers.training.class_loss import LearnsLabels

        return (LearnsLabels,), transformers.Trainer, transformers.TrainingArguments
    if method == "ppo":
        from trainers import ppo

        way = ppo.load()
        return way.mixins, way.trainer, way.config
    name = {"grpo": "GRPO", "rloo": "RLOO", "reward": "Reward"}.get(method, method.upper())
    place = f"trl.experimental.{method}" if method in ("cpo", "orpo") else "trl"
    module = importlib.import_module(place)
    return (), getattr(module, f"{name}Trainer"), getattr(module, f"{name}Config")


def word_tokenizer() -> Any:
    """One token a word: `w5 w6` -> [5, 6]."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", bos_token="w1", eos_token="w2")


def _model(method: str, config: Any, folder: Path, *, is_compressed: bool) -> Any:
    kind = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    if is_compressed:
        AutoModelForCausalLM.from_config(config, **kind).save_pretrained(folder / "whole")
        return load_model(
            folder / "whole",
            dtype="float32",
            device="cpu",
            quantization=squeezed("float32", in_4bit=True, in_8bit=False),
        )
    if not METHODS[method].has_head:
        config.num_labels = 1 if method == "reward" else LABELS
        return AutoModelForSequenceClassification.from_config(config, **kind)
    model = AutoModelForCausalLM.from_config(config, **kind)
    if method not in WRITES:
        return model
    # trl loads the reference from where the model came from.
    model.save_pretrained(folder / "model")
    return AutoModelForCausalLM.from_pretrained(folder / "model", **kind)


def _adapted(model: Any, adapter: Any) -> Any:
    if adapter is None:
        return model
    from peft import get_peft_model

    model.enable_input_require_grads()
    return get_peft_model(model, adapter)


def adapter_of(tuning: str, kind: str = "CAUSAL_LM", model: Any = None) -> Any:
    """peft's config of a way of tuning, with sizes that the tests know, and layers as the studio names them."""
    import peft

    if model is not None and tuning in ("ia3", "ln_tuning"):
        found = (vectors.prepare_ia3 if tuning == "ia3" else vectors.prepare_norms)(model, {})
        found.task_type = kind
        return found

    if tuning in ("full", "freeze", "bottleneck"):
        return None
    virtual = {"num_virtual_tokens": 12, "task_type": kind}
    on_layers = {"r": 8, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": kind}
    return {
        "lora": lambda: peft.LoraConfig(**on_layers),
        "qlora": lambda: peft.LoraConfig(**on_layers),
        "dora": lambda: peft.LoraConfig(**on_layers, use_dora=True),
        "prefix_tuning": lambda: peft.PrefixTuningConfig(**virtual),
        "prompt_tuning": lambda: peft.PromptTuningConfig(**virtual),
        "p_tuning": lambda: peft.PromptEncoderConfig(**virtual, encoder_hidden_size=40),
        "ia3": lambda: peft.IA3Config(task_type=kind),
        "ln_tuning": lambda: peft.LNTuningConfig(task_type=kind),
    }[tuning]()


def batch_size(method: str) -> int:
    """Two prompts of unlike length and two answers to each, or two rows or pairs: something is padded."""
    return 4 if method in WRITES else 2


def _arguments(method: str, folder: Path, optim: str) -> dict[str, Any]:
    usual = {
        "output_dir": str(folder),
        "max_steps": 3,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "optim": optim,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "per_device_train_batch_size": batch_size(method),
        "per_device_eval_batch_size": batch_size(method),
        "max_length": 512,
        "remove_unused_columns": method in ("sft",),
    }
    if method in WRITES or method == "classify":
        del usual["max_length"]
    if method not in WRITES:
        return usual
    written = {"min_new_tokens": WRITTEN}
    if method == "ppo":
        from trainers.ppo import TOKENS_ALIKE

        usual |= TOKENS_ALIKE | {"beta": METHODS["ppo"].default_beta}
    return usual | {
        "max_steps": 2,
        "num_generations": 2,
        "max_completion_length": WRITTEN,
        "generation_kwargs": written,
    }


def _rows(method: str) -> Any:
    from datasets import Dataset

    prompt = " ".join(["w5"] * PROMPT)
    answer, other = " ".join(["", *["w7"] * ANSWER]), " ".join(["", *["w9"] * (ANSWER - 20)])
    row = {
        "sft": {"prompt": prompt, "completion": answer},
        "kto": {"prompt": prompt, "completion": answer},
        "reward": {"chosen": prompt + answer, "rejected": prompt + other},
    }.get(method, {"prompt": prompt, "chosen": answer, "rejected": other})
    if method in WRITES:
        return Dataset.from_list([{"prompt": prompt}, {"prompt": " ".join(["w5"] * (PROMPT - 20))}] * 4)
    if method == "classify":
        sizes = (PROMPT + ANSWER, PROMPT + ANSWER - 20)
        return Dataset.from_list([{"input_ids": [5] * sizes[n % 2], "labels": n % 2} for n in range(8)])
    rows = [dict(row) for _ in range(8)]
    if method in ("sft", "kto"):  # two lengths, so that rows are padded and masked, as mostly
        rows = [each | ({"completion": other} if number % 2 else {}) for number, each in enumerate(rows)]
    if method == "kto":
        rows = [each | {"label": number % 2 == 0} for number, each in enumerate(rows)]
    return Dataset.from_list(rows)


def _reward(completions: list[Any], **_: Any) -> list[float]:
    return [float(number % 2) for number in range(len(completions))]


TRAINED_LAYERS = 2


def _freeze(model: Any, count: int) -> None:
    """All but the last layers."""
    model.requires_grad_(False)
    for layer in _layers(model, count)[-TRAINED_LAYERS:]:
        layer.requires_grad_(True)


def _layers(model: Any, count: int) -> Any:
    lists = [each for each in model.modules() if isinstance(each, torch.nn.ModuleList)]
    return next(each for each in lists if len(each) == count)


def _at_last_layer(watch: Watch) -> Any:
    def note(module: Any, given: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad and torch._C._current_graph_task_id() == -1:
            hidden.register_hook(lambda grad: watch.cut("loss"))

    return note


def _note_length(watch: Watch) -> Any:
    def note(module: Any, given: Any, output: Any) -> None:
        watch.seen.row_tokens = max(watch.seen.row_tokens, output.shape[1])

    return note
