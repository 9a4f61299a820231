"""Pairs of values that cannot both hold; each fault sits on the field that is best changed.

clashes({"tuning": "full", "dtype": "float16", ...})  ->  [Fault("dtype", "spec.full_in_float16")]
"""

from collections.abc import Callable, Mapping
from typing import Any

from studio.errors import Fault
from studio.params.joined import seen_by_row
from studio.params.methods import method_of
from studio.params.schedules import MUON, PLATEAU, STABLE
from studio.params.tunings import ADDS_TOKENS
from studio.params.weights import category_weights

Values = Mapping[str, Any]


def clashes(values: Values) -> list[Fault]:
    """Every fault that complete values have together."""
    found = (rule(values) for rule in RULES)
    return [fault for fault in found if fault is not None]


def _packing_needs_flash(values: Values) -> Fault | None:
    # trl flattens packed rows into one sequence; the other kernels would let rows see each other.
    if _packs(values) and values["attn_implementation"] != "flash_attention_2":
        return Fault("packing", "spec.packing_needs_flash", {"value": values["attn_implementation"]})
    return None


def _curriculum_packed(values: Values) -> Fault | None:
    # trl fits rows together by their lengths, whatever order they come in.
    if _packs(values) and values.get("curriculum", "none") != "none":
        return Fault("curriculum", "spec.curriculum_packed")
    return None


def _weights_packed(values: Values) -> Fault | None:
    # In one packed row stand rows of several classes.
    if not _packs(values):
        return None
    for name in ("class_weights", "category_weights", "weight_column"):
        if values.get(name) not in (None, "", "none"):
            return Fault(name, "spec.weights_packed", {"name": name})
    return None


def _terms_packed(values: Values) -> Fault | None:
    # They are about one answer and its question; in a packed row stand several.
    for name in ("repetition_weight", "rouge_weight", "source_weight", "task_shares"):
        if _packs(values) and values.get(name):
            return Fault(name, "spec.terms_packed", {"name": name})
    return None


def _category_weights_unread(values: Values) -> Fault | None:
    try:
        category_weights(values)
    except ValueError as error:
        return Fault(
            "category_weights", "spec.not_weights", {"value": str(values["category_weights"]), "entry": str(error)}
        )
    return None


def _joined_by_row(values: Values) -> Fault | None:
    # Where rows lie in one sequence, nothing tells any more whose row a token is.
    if not values.get("padding_free"):
        return None
    name = seen_by_row(values)
    return Fault("padding_free", "spec.joined_by_row", {"name": name}) if name else None


def _joined_with_prompt(values: Values) -> Fault | None:
    # What is learned stands before a row; in one sequence stand several.
    if values.get("padding_free") and values["tuning"] in ADDS_TOKENS:
        return Fault("padding_free", "spec.joined_with_prompt", {"value": values["tuning"]})
    return None


def _full_in_float16(values: Values) -> Fault | None:
    if _trains_itself(values) and values["dtype"] == "float16":
        return Fault("dtype", "spec.full_in_float16", {"value": values["tuning"]})
    return None


def _precision_clash(values: Values) -> Fault | None:
    if values["dtype"] == "bfloat16" and values["mixed_precision"] == "fp16":
        return Fault("mixed_precision", "spec.precision_clash")
    return None


def _flash_in_float32(values: Values) -> Fault | None:
    if values["attn_implementation"] == "flash_attention_2" and _computes_in_float32(values):
        return Fault("attn_implementation", "spec.flash_in_float32")
    return None


def _generations_divide(values: Values) -> Fault | None:
    # Answers to one question belong together; trl cuts no question in two.
    wanted = values.get("num_generations")
    if wanted is None:
        return None
    written = _rows(values) * values["gradient_accumulation_steps"]
    if written % wanted == 0:
        return None
    if written < 2:
        return Fault("gradient_accumulation_steps", "spec.generations_alone", {"value": wanted})
    near = [count for count in range(2, written + 1) if written % count == 0]
    fits = min(near, key=lambda count: abs(count - wanted))
    more = -(-written // wanted) * wanted
    return Fault(
        "num_generations", "spec.generations_divide", {"value": wanted, "written": written, "fits": fits, "more": more}
    )


def _beta_zero(values: Values) -> Fault | None:
    # With a factor of 0 the loss is the same whatever the model prefers.
    if values.get("beta") == 0 and values["method"] in ("dpo", "orpo", "cpo", "kto"):
        return Fault("beta", "spec.beta_zero", {"method": values["method"]})
    return None


def _kto_alone(values: Values) -> Fault | None:
    # How far the model has moved is estimated with the answers to the other questions of a batch.
    if values.get("method") == "kto" and values["loss_type"] == "kto" and _rows(values) < 2:
        return Fault("per_device_train_batch_size", "spec.kto_alone", {"value": _rows(values)})
    return None


def _rows(values: Values) -> int:
    return values["per_device_train_batch_size"]


def _pissa_with_dora(values: Values) -> Fault | None:
    # What is saved is the sum of two products of matrices; a learned size beside them is no sum.
    if values.get("init_lora_weights") == "pissa" and values.get("use_dora"):
        return Fault("use_dora", "spec.pissa_with_dora")
    return None


def _old_rows_missing(values: Values) -> Fault | None:
    # SI holds weights without them; they would only be scored.
    if values.get("old_dataset"):
        return None
    for name, needing in (("continual", ("replay", "ewc")), ("general_rows", ("answers", "questions", "both"))):
        if values.get(name) in needing:
            return Fault("old_dataset", "spec.old_rows_missing", {"name": name, "value": values[name]})
    return None


def _replay_in_order(values: Values) -> Fault | None:
    # Old rows have no place in the order of the new ones.
    if values.get("continual") == "replay" and values.get("curriculum", "none") != "none":
        return Fault("curriculum", "spec.replay_in_order", {"value": values["curriculum"]})
    return None


def _held_with_pissa(values: Values) -> Fault | None:
    # What PiSSA trains is cut out of the base model anew in each run, so weights of two runs do not compare.
    if values.get("continual") in ("ewc", "si") and values.get("init_lora_weights") == "pissa":
        return Fault("continual", "spec.held_with_pissa", {"value": values["continual"]})
    return None


def _head_beside_adapter(values: Values) -> Fault | None:
    # A new head must be trained whole; these tunings are tried with it, the others are not.
    allowed = {"classify": ("lora", "qlora", "full"), "reward": ("lora", "qlora", "full", "freeze")}
    method, tuning = values.get("method"), values["tuning"]
    if method not in allowed or tuning in allowed[method]:
        return None
    choices = ", ".join(allowed[method])
    return Fault("tuning", "spec.tuning_without_head", {"value": tuning, "method": method, "choices": choices})


def _tuning_beside_reference(values: Values) -> Fault | None:
    # What is asked for comparison is the base model without its adapter; these tunings are tried with that.
    if method_of(values).prefers and values["tuning"] not in ("lora", "qlora", "full", "freeze"):
        known = {"value": values["tuning"], "method": values["method"]}
        return Fault("tuning", "spec.tuning_beside_reference", known)
    return None


def _pissa_beside_reference(values: Values) -> Fault | None:
    # PiSSA takes part of the base model away, which then no longer is what it was.
    if method_of(values).prefers and values.get("init_lora_weights") == "pissa":
        return Fault("init_lora_weights", "spec.pissa_beside_reference", {"method": values["method"]})
    return None


def _plateau_unwatched(values: Values) -> Fault | None:
    if values["lr_scheduler_type"] == PLATEAU and values["validation_split"] == 0:
        return Fault("lr_scheduler_type", "spec.plateau_unwatched")
    return None


def _plateau_warms_up(values: Values) -> Fault | None:
    if values["lr_scheduler_type"] == PLATEAU and values["warmup_ratio"] > 0:
        return Fault("warmup_ratio", "spec.plateau_warms_up", {"value": values["warmup_ratio"]})
    return None


def _longer_than_the_run(values: Values) -> Fault | None:
    if values["lr_scheduler_type"] == STABLE and values["warmup_ratio"] + values["decay_ratio"] > 1:
        return Fault(
            "decay_ratio", "spec.longer_than_the_run", {name: values[name] for name in ("warmup_ratio", "decay_ratio")}
        )
    return None


def _metric_not_told(values: Values) -> Fault | None:
    own = ("accuracy", "f1") if values["method"] == "classify" else ("mean_token_accuracy",)
    told = ("loss", *(own if values["method"] in ("sft", "pretrain", "classify") else ()))
    if values["metric_for_best_model"] in told:
        return None
    known = {"method": values["method"], "value": values["metric_for_best_model"], "choices": ", ".join(told)}
    return Fault("metric_for_best_model", "spec.metric_not_told", known)


def _muon_with_two_rates(values: Values) -> Fault | None:
    if values["optim"] == MUON and values.get("loraplus_lr_ratio", 1.0) != 1.0:
        return Fault("optim", "spec.muon_with_two_rates", {"value": values["loraplus_lr_ratio"]})
    return None


def _prompt_packed(values: Values) -> Fault | None:
    # What is learned stands before a row; in one packed row stand several.
    if _packs(values) and values["tuning"] in ADDS_TOKENS:
        return Fault("packing", "spec.prompt_packed", {"value": values["tuning"]})
    return None


def _prefix_recomputed(values: Values) -> Fault | None:
    # The prefix comes as a cache of keys and values, and a layer that is computed again has none.
    if values["tuning"] == "prefix_tuning" and values["gradient_checkpointing"]:
        return Fault("gradient_checkpointing", "spec.prefix_recomputed")
    return None


RULES: tuple[Callable[[Values], Fault | None], ...] = (
    _packing_needs_flash,
    _curriculum_packed,
    _weights_packed,
    _category_weights_unread,
    _terms_packed,
    _joined_by_row,
    _joined_with_prompt,
    _plateau_unwatched,
    _plateau_warms_up,
    _longer_than_the_run,
    _muon_with_two_rates,
    _metric_not_told,
    _full_in_float16,
    _precision_clash,
    _flash_in_float32,
    _generations_divide,
    _beta_zero,
    _kto_alone,
    _pissa_with_dora,
    _prompt_packed,
    _prefix_recomputed,
    _head_beside_adapter,
    _tuning_beside_reference,
    _pissa_beside_reference,
    _old_rows_missing,
    _replay_in_order,
    _held_with_pissa,
)


def _packs(values: Values) -> bool:
    return bool(values.get("packing"))


def _trains_itself(values: Values) -> bool:
    """Whether the model's own weights are trained."""
    return values["tuning"] in ("full", "freeze")


def _computes_in_float32(values: Values) -> bool:
    return values["dtype"] == "float32" and values["mixed_precision"] == "no"
