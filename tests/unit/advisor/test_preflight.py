"""Every rule is whole, has words, and fires where it should and not elsewhere."""

from dataclasses import replace

import msgspec
import pytest

from studio.advisor.complete import complete, complete_spec, kept_with_run
from studio.advisor.data_facts import DataFacts
from studio.advisor.facts import Lengths
from studio.advisor.forecast import forecast
from studio.advisor.measures import is_vague, measures
from studio.advisor.preflight import LOOKS, SEVERITIES, preflight, rules
from studio.errors import SpecRefused
from studio.memory.inventory import Module
from studio.messages import LANGUAGES, catalogue
from studio.params.table import every_parameter
from studio.paths import TEMPLATES
from studio.rewards.recipe import digest, parse
from tests.unit.advisor.conftest import model

NAMED = {"model_name_or_path": "m", "dataset": "d"}
GIB = 2**30


GOAL = "Answer questions about invoices in two polite sentences"
LOOKED = {"was_looked_at": True, "was_checked": True, "duplicates": 0, "unclean": 0, "leaks": 0}


def found(facts, **chosen):
    values, _ = complete({**NAMED, "goal": GOAL, **chosen}, facts)
    return {finding.code: finding for finding in preflight(facts, values, forecast(facts, values))}


def data(**changes):
    return {"data": DataFacts(**(LOOKED | changes))}


FOUR = {"answers": 4, "categories": 0, "tags": 0, "smallest": 9}
NONE = {"answers": 0, "categories": 0, "tags": 0, "smallest": 0}
EAGER_ONLY = replace(model("135M"), attention=("eager",))
WITHOUT_NORMS = replace(model("135M"), modules=tuple(m for m in model("135M").modules if m.kind != "Norm"))
STATEFUL = replace(model("135M"), is_stateful=True)
EXPERTS = replace(model("135M"), modules=(*model("135M").modules, Module("other", "layers.*.experts", (4, 8, 8), 2)))

# Every rule: what it fires on, and the nearest case on which it stays silent; each (what is known, what was chosen).
REWARDED = {method: {"rewards": [{"name": "length", "min": 1, "max": 9}]} for method in ("grpo", "rloo", "ppo")}
MISSING_BY_RULE = {"rewards": {"rewards": ["exact_match", "length"], "missing": "rule"}}
LENGTH_HASH = digest(parse(REWARDED["grpo"]["rewards"]))
CASES = {
    "base_cannot": (({"baseline_correct": 0.19}, {}), ({"baseline_correct": 0.2}, {})),
    "base_suffices": (({"baseline_correct": 1.0, "baseline_suffices": True}, {}), ({"baseline_correct": 1.0}, {})),
    "batch_large": (
        ({}, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 9}),
        ({}, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}),
    ),
    "batch_small": (
        ({}, {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}),
        ({}, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}),
    ),
    "beyond_positions": (({"max_positions": 128}, {"max_length": 256}), ({"max_positions": 256}, {"max_length": 256})),
    "cannot_serve": (({"size": "7B", "gpu": 12}, {"tuning": "lora"}), ({"size": "7B", "gpu": 12}, {"tuning": "qlora"})),
    "device_busy": (({"size": "7B", "gpu": 24, "busy": 20}, {}), ({"size": "7B", "gpu": 24, "busy": 0}, {})),
    "disk_full": (({"disk_free_bytes": GIB}, {}), ({"disk_free_bytes": 2 * GIB}, {})),
    "does_not_fit": (({"size": "7B", "gpu": 24}, {"tuning": "full"}), ({"size": "7B", "gpu": 24}, {})),
    "dropout_on_experts": (
        ({"inventory": EXPERTS}, {"lora_target_modules": ["all-linear"], "lora_dropout": 0.1}),
        ({"inventory": EXPERTS}, {"lora_target_modules": ["q_proj"], "lora_dropout": 0.1}),
    ),
    "duplicates": ((data(duplicates=1), {}), (data(duplicates=None), {})),
    "examples_as_text": (
        ({"format": "messages"}, {"method": "pretrain"}),
        ({"format": "text"}, {"method": "pretrain"}),
    ),
    "few_pieces": (
        ({"rows": 14}, {"method": "pretrain", "max_length": 128}),
        ({"rows": 14}, {"method": "pretrain", "max_length": 64}),
    ),
    "better_said": (
        ({"labels": FOUR, "model_name": "x-instruct"}, {"method": "classify"}),
        ({"labels": FOUR, "model_name": "x-instruct", "rows": 500}, {"method": "classify"}),
    ),
    "missing_labels": (({"labels": NONE}, {"method": "classify"}), ({"labels": FOUR}, {"method": "classify"})),
    "missing_tags": (
        ({"labels": FOUR}, {"method": "classify", "task_type": "TOKEN_CLS"}),
        ({"labels": NONE | {"tags": 2}}, {"method": "classify", "task_type": "TOKEN_CLS"}),
    ),
    "unfit_for_classify": (({"format": "tokens"}, {"method": "classify"}), ({"format": "tokens"}, {})),
    "prefix_nowhere": (({"inventory": STATEFUL}, {"tuning": "prefix_tuning"}), ({"inventory": STATEFUL}, {})),
    "rows_all_cut": (
        ({"lengths": Lengths(mean=60, p95=80, p99=90, longest=99, shortest=33)}, {"max_length": 32}),
        ({"lengths": Lengths(mean=60, p95=80, p99=90, longest=99, shortest=33)}, {"max_length": 33}),
    ),
    "rows_refused": (({"rows_refused": 1}, {}), ({"rows_refused": 0}, {})),
    "few_rows": (({"rows": 49}, {}), ({"rows": 50}, {})),
    "flash_missing": (
        ({"gpu": 24}, {"attn_implementation": "flash_attention_2"}),
        ({"gpu": 24, "has_flash_attention": True}, {"attn_implementation": "flash_attention_2"}),
    ),
    "flash_on_cpu": (
        ({}, {"attn_implementation": "flash_attention_2", "dtype": "bfloat16"}),
        ({"gpu": 24}, {"attn_implementation": "flash_attention_2"}),
    ),
    "four_bit_on_cpu": (({}, {"tuning": "qlora"}), ({"gpu": 24}, {"tuning": "qlora"})),
    "full_tuning": (({}, {"tuning": "full"}), ({}, {"tuning": "lora"})),
    "leakage": ((data(leaks=1, is_split=True), {}), (data(leaks=None), {})),
    "leakage_unknown": ((data(is_split=True, was_checked=False), {}), (data(is_split=False, was_checked=False), {})),
    "lost_template": (
        ({"model_name": "SmolLM2-135M-Instruct", "has_chat_template": False}, {}),
        ({"model_name": "SmolLM2-135M-Instruct", "has_chat_template": True}, {}),
    ),
    "mixed_off": (
        ({"gpu": 24}, {"dtype": "float32", "mixed_precision": "no"}),
        ({"gpu": 24, "capability": (7, 5)}, {"dtype": "float32", "mixed_precision": "no"}),
    ),
    "never_saved": (({}, {"max_steps": 20, "save_steps": 21}), ({}, {"max_steps": 20, "save_steps": 20})),
    "never_validated": (({}, {"max_steps": 20, "eval_steps": 21}), ({}, {"max_steps": 20, "eval_steps": 20})),
    "no_bf16": (
        ({"gpu": 16, "capability": (7, 5)}, {"dtype": "bfloat16", "mixed_precision": "bf16"}),
        ({"gpu": 16, "capability": (8, 0)}, {"dtype": "bfloat16", "mixed_precision": "bf16"}),
    ),
    "no_categories": (
        (data(categories=1), {"class_weights": "balanced"}),
        (data(categories=2), {"class_weights": "balanced"}),
    ),
    "no_decay": (({}, {"lr_scheduler_type": "constant"}), ({}, {"lr_scheduler_type": "constant_with_warmup"})),
    "no_difficulty": (({}, {"curriculum": "easy_to_hard"}), ({"has_difficulty": True}, {"curriculum": "easy_to_hard"})),
    "no_early_stopping": (
        ({}, {"early_stopping_patience": 0}),
        ({}, {"early_stopping_patience": 0, "validation_split": 0}),
    ),
    "no_goal": (({}, {"goal": " "}), ({}, {"goal": "Better answers"})),
    "no_rows": (({"rows": 0}, {}), ({"rows": 1}, {})),
    "no_schema": (({"json_answers": 0.5}, {}), ({"json_answers": 0.9} | data(has_schema=True), {})),
    "no_template": (({"has_chat_template": False}, {}), ({"has_chat_template": False, "model_name": "x-chat"}, {})),
    "one_validation_row": (({"rows": 12}, {"validation_split": 0.1}), ({"rows": 12}, {"validation_split": 0.2})),
    "no_validation": (({}, {"validation_split": 0}), ({}, {"validation_split": 0.05})),
    "no_warmup": (({}, {"warmup_ratio": 0}), ({}, {"warmup_ratio": 0.01})),
    "not_looked_at": ((data(was_looked_at=False), {}), (data(), {})),
    "not_stratified": ((data(categories=2), {}), (data(categories=2, is_split=True), {})),
    "open_problems": (({"open_problems": 3}, {}), ({"open_problems": 0}, {})),
    "rate_high": (({}, {"learning_rate": 0.0011}), ({}, {"learning_rate": 0.001})),
    "rate_of_full": (({}, {"learning_rate": 2e-5}), ({}, {"learning_rate": 2e-5, "tuning": "full"})),
    "rate_of_preference": (({}, {"learning_rate": 1e-6}), ({}, {"learning_rate": 5e-6})),
    "rows_cut": (({}, {"max_length": 64}), ({}, {"max_length": 180})),
    "reward_not_green": (
        ({"tried_rewards": {LENGTH_HASH: "not_yet"}}, {"method": "grpo", **REWARDED["grpo"]}),
        ({"tried_rewards": {LENGTH_HASH: "green"}}, {"method": "grpo", **REWARDED["grpo"]}),
    ),
    "reward_without_answers": (
        ({"format": "prompt"}, {"method": "grpo", "rewards": ["exact_match", "length"]}),
        ({"format": "prompt"}, {"method": "grpo", **MISSING_BY_RULE}),
    ),
    "reward_untried": (
        ({"tried_rewards": {"another": "green"}}, {"method": "grpo", **REWARDED["grpo"]}),
        ({"tried_rewards": {LENGTH_HASH: "green"}}, {"method": "grpo", **REWARDED["grpo"]}),
    ),
    "short_on_cpu": (({}, {"dtype": "bfloat16"}), ({"gpu": 24}, {"dtype": "bfloat16"})),
    "missing_layers": (({}, {"lora_target_modules": "q_proj,nope"}), ({}, {"lora_target_modules": "q_proj"})),
    "rank_over": (
        ({}, {"lora_r": 193, "lora_target_modules": "k_proj"}),
        ({}, {"lora_r": 192, "lora_target_modules": "k_proj"}),
    ),
    "layers_over": (
        ({}, {"tuning": "freeze", "freeze_trainable_layers": 31}),
        ({}, {"tuning": "freeze", "freeze_trainable_layers": 30}),
    ),
    "nothing_trained": (
        ({"inventory": WITHOUT_NORMS}, {"tuning": "ln_tuning"}),
        ({}, {"tuning": "ln_tuning"}),
    ),
    "template_mismatch": (({"unknown_markers": ("<|im_start|>",)}, {}), ({"unknown_markers": ()}, {})),
    "text_by_examples": (({"format": "text"}, {}), ({"format": "messages"}, {})),
    "unfit_for_pretrain": (
        ({"format": "preference"}, {"method": "pretrain"}),
        ({"format": "preference"}, {}),
    ),
    **{
        f"unfit_for_{method}": (
            ({"format": "text"}, {"method": method, **REWARDED.get(method, {})}),
            ({"format": format}, {"method": method, **REWARDED.get(method, {})}),
        )
        for method, format in (
            ("reward", "preference"),
            ("dpo", "preference"),
            ("orpo", "preference"),
            ("cpo", "preference"),
            ("kto", "unpaired"),
            ("grpo", "prompt"),
            ("rloo", "prompt"),
            ("ppo", "prompt"),
        )
    },
    "unfit_for_sft": (({"format": "preference"}, {}), ({"format": "tokens"}, {})),
    "tight_memory": (({"tight": True}, {}), ({"tight": False}, {})),
    "too_few_rows": (({"rows": 9}, {}), ({"rows": 10}, {})),
    "unclean": ((data(unclean=1), {}), (data(unclean=0), {})),
    "uniform_rows": (({"variety": 0.49}, {}), ({"variety": 0.5}, {})),
    "vague_goal": (({}, {"goal": "A better model"}), ({}, {"goal": GOAL})),
    "unsupported_attention": (
        ({"inventory": EAGER_ONLY}, {"attn_implementation": "sdpa"}),
        ({"inventory": EAGER_ONLY}, {"attn_implementation": "eager"}),
    ),
}


@pytest.fixture
def findings(facts):
    def of(known, chosen):
        known = dict(known)
        busy, tight = known.pop("busy", 0), known.pop("tight", None)
        if tight is not None:
            known, chosen = _near_the_edge(facts, is_tight=tight)
        made = facts(**known)
        if busy:
            (gpu,) = made.machine.gpus
            gpus = (replace(gpu, free_bytes=gpu.total_bytes - busy * GIB),)
            made = replace(made, machine=replace(made.machine, gpus=gpus))
        return found(made, **chosen)

    return of


def _near_the_edge(facts, *, is_tight):
    """A batch at which memory is tight, or the largest at which it is not: found by trying, as the calculator moves."""
    known = {"size": "7B", "gpu": 24, "longest": 500, "rows": 5000}
    least = {"gradient_checkpointing": False, "gradient_accumulation_steps": 1}
    last = None
    for batch in range(1, 65):
        chosen = least | {"per_device_train_batch_size": batch, "per_device_eval_batch_size": 1}
        made = facts(**known)
        verdict = forecast(made, complete({**NAMED, **chosen}, made)[0]).memory.verdict
        if verdict == "tight" and is_tight:
            return known, chosen
        if verdict != "fits":
            return known, last
        last = chosen
    raise AssertionError("nothing is tight")


def test_every_rule_has_a_case_where_it_fires_and_one_where_it_does_not():
    assert set(CASES) == {path.stem for path in (TEMPLATES / "advice" / "preflight").glob("*.yaml")}


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_fires_with_words(findings, code):
    finding = findings(*CASES[code][0])[code]
    for language in LANGUAGES:
        told = (finding.message(language), finding.why(language))
        assert not any("{" in words or words.startswith(("advice.", "errors.", "preflight.")) for words in told)
        assert told[0] != told[1]


TWO_SETTINGS = {
    "rank_over": ("lora_r", "lora_target_modules"),
    "dropout_on_experts": ("lora_dropout", "lora_target_modules"),
    "missing_layers": ("lora_target_modules", "model_name_or_path"),
    "layers_over": ("freeze_trainable_layers", "model_name_or_path"),
    "nothing_trained": ("tuning", "model_name_or_path"),
    "prefix_nowhere": ("tuning", "model_name_or_path"),
    "rows_all_cut": ("max_length", "dataset"),
    "one_validation_row": ("validation_split", "early_stopping_patience"),
    "no_bf16": ("dtype", "mixed_precision"),
}


@pytest.mark.parametrize("code", sorted(TWO_SETTINGS))
def test_what_clashes_is_named_by_its_name_or_by_its_label(findings, code):
    finding = findings(*CASES[code][0])[code]
    for language in LANGUAGES:
        words = finding.message(language).casefold()
        for setting in TWO_SETTINGS[code]:
            label = every_parameter()[setting].label(language)
            assert setting in words or label.casefold() in words, (language, setting, words)


def test_layers_that_are_frozen_or_not_are_named_by_their_own_setting(findings):
    chosen = {"tuning": "freeze", "freeze_trainable_modules": "nope"}
    words = findings({}, chosen)["missing_layers"].message("en")
    assert "freeze_trainable_modules" in words and "all-linear" not in words


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_stays_silent_beside_its_case(findings, code):
    assert code not in findings(*CASES[code][1])


def test_every_rule_is_whole(facts):
    known = facts()
    values, _ = complete(NAMED, known)
    names = set(measures(known, values, forecast(known, values)))
    fields = set(every_parameter())
    for rule in rules():
        assert rule.severity in SEVERITIES and rule.source
        limits = {limit for each in rule.when.values() for limit in each.values() if isinstance(limit, str)}
        assert set(rule.when) | limits <= names and set(rule.mend) <= fields
        assert rule.mend or rule.goto or rule.look, f"{rule.code} has no button"
        assert rule.look in ("", *LOOKS)
        words = f"{'errors.preflight' if rule.severity == 'error' else 'advice'}.{rule.code}"
        wanted = [words, f"preflight.why.{rule.code}"]
        wanted += [f"preflight.look.{rule.look}"] if rule.look else []
        wanted += [f"preflight.go.{rule.goto.lstrip('#').replace('/', '_')}"] if rule.goto else []
        assert all(key in catalogue(language) for language in LANGUAGES for key in wanted), rule.code


def test_a_recommended_run_is_clean(facts):
    assert found(facts()) == {}


def test_going_back_to_what_is_recommended_mends_what_its_button_promises(findings):
    for rule in rules():
        (known, chosen), _ = CASES[rule.code]
        if set(chosen) & set(rule.mend):
            left = {name: value for name, value in chosen.items() if name not in rule.mend}
            assert rule.code not in findings(known, left), rule.code


@pytest.mark.parametrize(
    ("goal", "is_short"),
    [
        ("make the model better", True),
        ("improve performance", True),
        ("让模型更好", True),
        ("提升效果", True),
        ("Sort support mails into five folders", False),
        ("SQL from plain questions about our shop", False),
        ("用两句礼貌的话回答发票问题", False),
    ],
)
def test_goals_that_say_too_little(goal, is_short):
    assert is_vague(goal) == is_short


class Named:
    """The parts of a data set's summary that completing reads."""

    def __init__(self, rows):
        self.training_rows, self.validation_rows, self.problems, self.has_difficulty = rows, 0, 0, False
        self.format = "messages"


def inspection(longest=90):
    from tests.unit.advisor.conftest import model

    inventory = model("135M")
    return {
        "inventory": {
            "tied_embeddings": True,
            "has_chat_template": True,
            "max_positions": 8192,
            "num_heads": 9,
            "modules": [
                {"kind": m.kind, "name": m.name, "shape": list(m.shape), "count": m.count} for m in inventory.modules
            ],
            **{
                n: getattr(inventory, n)
                for n in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
            },
        },
        "tokens": {"lengths": {"mean": 40.0, "p95": 70, "p99": 80, "max": longest}},
    }


def test_the_desk_gets_a_complete_spec_and_what_was_changed(facts):
    spec = {**NAMED, "max_steps": 20, "run_name": "first"}
    named = Named(300)
    done = complete_spec(spec, dataset=named, inspection=inspection(), machine=facts().machine)
    assert done.chosen == ["max_steps"] and done.values["save_steps"] == 5 and done.disk_bytes > 0


def test_a_whole_form_counts_only_changed_fields_as_chosen(facts):
    named = Named(300)
    surroundings = {"dataset": named, "inspection": inspection(), "machine": facts().machine}
    whole = complete_spec(NAMED, **surroundings).values
    assert complete_spec(whole, **surroundings).chosen == []
    assert complete_spec({**whole, "learning_rate": 1e-5}, **surroundings).chosen == ["learning_rate"]


def test_another_tuning_than_the_recommended_one_is_a_change(facts):
    named = Named(300)
    done = complete_spec({**NAMED, "tuning": "full"}, dataset=named, inspection=inspection(), machine=facts().machine)
    assert done.chosen == ["tuning"]


def test_errors_of_the_preflight_refuse_the_spec(facts):
    named = Named(0)
    with pytest.raises(SpecRefused) as refused:
        complete_spec(NAMED, dataset=named, inspection=inspection(), machine=facts().machine)
    assert "no rows" in refused.value.message()


def test_what_a_run_is_started_in_spite_of_is_kept_with_its_reasons(facts):
    surroundings = {"dataset": Named(300), "inspection": inspection(), "machine": facts().machine}
    done = complete_spec({**NAMED, "validation_split": 0, "learning_rate": 1e-5}, **surroundings)
    assert set(done.overridden) == {"no_validation", "rate_of_full"}
    kept = kept_with_run(done)
    assert kept["reasons"]["lora_r"] == {"value": 8, "reason": "lora_r", "values": {}, "source": "B"}
    assert "learning_rate" not in kept["reasons"], "a chosen value has no reason"
    assert msgspec.json.decode(msgspec.json.encode(kept)) == kept
