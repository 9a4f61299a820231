"""The form is filled in as the documents and measurements say, fits the machine, and leaves chosen values alone."""

from dataclasses import replace

import pytest

from studio.advisor.complete import complete
from studio.advisor.counting import steps_of, training_rows, validation_rows
from studio.advisor.facts import Lengths
from studio.advisor.forecast import forecast, memory_of
from studio.advisor.measures import measures
from studio.advisor.prefill import prefill
from studio.advisor.recipes import recipes
from studio.errors import SpecRefused
from studio.memory.inventory import Module
from studio.messages import LANGUAGES, has, say
from studio.params.table import check, effective_batch_size, parameters
from studio.params.tunings import TUNINGS
from tests.unit.advisor.conftest import model

NAMED = {"model_name_or_path": "m", "dataset": "d"}


def values_of(facts, **chosen):
    return complete({**NAMED, **chosen}, facts)[0]


@pytest.mark.parametrize(
    ("rows", "epochs", "batch", "decay"),
    [
        (200, 2.5, 8, 0.01),
        (499, 2.5, 8, 0.01),
        (500, 4, 16, 0.03),
        (1500, 5, 16, 0.03),
        (5000, 6.5, 16, 0.03),
        (20000, 6.5, 32, 0.03),
    ],
)
def test_the_row_rules_of_document_a(facts, rows, epochs, batch, decay):
    values = values_of(facts(rows=rows))
    assert (values["num_train_epochs"], effective_batch_size(values), values["weight_decay"]) == (epochs, batch, decay)


@pytest.mark.parametrize(
    ("rows", "chosen", "epochs"),
    [
        (64, {}, 5),
        (64, {"intention": "careful"}, 5),
        (64, {"intention": "quick"}, 2),
        (64, {"tuning": "full"}, 2.5),
        (120, {}, 3),
        (200, {}, 2.5),
        (12, {}, 5),
    ],
)
def test_so_few_rows_that_their_epochs_are_few_steps_get_more(facts, rows, chosen, epochs):
    """Measured at 64 rows (docs/recipes.md): 40 steps, and never more than five epochs."""
    filled = prefill(facts(rows=rows), chosen)
    assert filled["num_train_epochs"].value == epochs
    assert (filled["num_train_epochs"].reason == "epochs_few_rows") == (not chosen.get("tuning") and epochs in (3, 5))
    assert prefill(facts(size="7B", rows=64, gpu=80), {})["num_train_epochs"].value == 2.5


@pytest.mark.parametrize(
    ("size", "rows", "rate", "warmup", "schedule"),
    [
        ("7B", 300, 2e-5, 0.1, "cosine"),
        ("7B", 1500, 3.5e-5, 0.1, "cosine"),
        ("7B", 5000, 5e-5, 0.1, "cosine"),
        ("13B", 5000, 3e-5, 0.05, "linear"),
        ("70B", 300, 5e-6, 0.01, "constant_with_warmup"),
    ],
)
def test_the_size_bands_of_document_b(facts, size, rows, rate, warmup, schedule):
    values = values_of(facts(size=size, rows=rows, gpu=80))
    assert values["learning_rate"] == pytest.approx(rate)
    assert (values["warmup_ratio"], values["lr_scheduler_type"]) == (warmup, schedule)


def test_the_measured_rate_comes_first_for_its_size_and_tuning(facts):
    assert values_of(facts())["learning_rate"] == recipes()["measured"][0]["learning_rate"]
    assert values_of(facts(size="3B", rows=300), tuning="full")["learning_rate"] == 1e-5
    assert values_of(facts(size="3B", rows=1500), tuning="full")["learning_rate"] == pytest.approx(3e-5)


@pytest.mark.parametrize(
    ("variety", "rows", "rate", "epochs"),
    [
        (None, 1500, 3.5e-5, 5),
        (0.7, 1500, 3.5e-5, 5),
        (0.2, 1500, 2e-5, 5),
        (0.95, 700, 5e-5, 5),
        (0.2, 700, 2e-5, 3),
        (0.95, 300, 2e-5, 2.5),
        (0.2, 300, 2e-5, 2),
        (0.2, 5000, 3.5e-5, 5),
    ],
)
def test_uniform_rows_lower_rate_and_epochs_and_varied_ones_raise_them(facts, variety, rows, rate, epochs):
    """Document A: little or similar data lower and fewer, much or varied higher and more; 7B takes 2e-5 to 5e-5."""
    values = values_of(facts(size="7B", rows=rows, gpu=80, variety=variety))
    assert (values["learning_rate"], values["num_train_epochs"]) == (pytest.approx(rate), epochs)


@pytest.mark.parametrize("method", ["classify", "pretrain"])
def test_labels_and_texts_take_the_measured_rate_on_small_models_alone(facts, method):
    assert prefill(facts(), {"method": method})["learning_rate"].value == 1e-3
    assert prefill(facts(), {"method": method, "tuning": "full"})["learning_rate"].value == 1e-5
    assert prefill(facts(size="3B", gpu=24), {"method": method, "tuning": "lora"})["learning_rate"].value == 2e-4


def test_uniform_rows_lower_the_rate_of_sizes_that_were_not_measured(facts):
    """At the measured size the lower rate taught nothing (docs/recipes.md, task format)."""
    assert values_of(facts(size="3B", gpu=24, variety=0.1))["learning_rate"] == 1e-4
    for variety in (0.1, 0.9):
        filled = prefill(facts(variety=variety), {})["learning_rate"]
        assert (filled.value, filled.reason) == (5e-4, "rate_lora")


@pytest.mark.parametrize(
    ("rows", "chosen", "rate"),
    [
        (64, {}, 5e-4),
        (12, {}, 1e-3),
        (64, {"intention": "quick"}, 1e-3),
        (300, {"max_steps": 20}, 1e-3),
        (64, {"num_train_epochs": 2.5}, 1e-3),
        (64, {"tuning": "full", "max_steps": 20}, 3e-4),
    ],
)
def test_very_few_steps_take_the_higher_of_the_measured_rates(facts, rows, chosen, rate):
    filled = prefill(facts(rows=rows), chosen)["learning_rate"]
    assert filled.value == rate and (filled.reason == "rate_lora_short") == (rate == 1e-3)


@pytest.mark.parametrize(
    ("chosen", "factor"),
    [
        ({"per_device_train_batch_size": 4}, 1),
        ({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}, 2**0.5),
        ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}, 0.5**0.5),
        ({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 64}, 2),
    ],
)
def test_the_rate_follows_the_square_root_of_a_chosen_batch(facts, chosen, factor):
    """Document C: linear or square-root scaling; here the second, within a factor of two of 2e-4."""
    known = facts(size="3B", gpu=24)
    assert values_of(known, tuning="lora", **chosen)["learning_rate"] == pytest.approx(2e-4 * factor, rel=0.02)


@pytest.mark.parametrize(("rule", "factor"), [("linear", 2), ("none", 1)])
def test_the_rate_follows_a_chosen_batch_as_asked(facts, rule, factor):
    batch = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    rate = values_of(facts(size="3B", gpu=24), learning_rate_scaling=rule, **batch)["learning_rate"]
    assert rate == pytest.approx(2e-4 * factor)


@pytest.mark.parametrize("tuning", sorted(TUNINGS))
@pytest.mark.parametrize("gpu", [None, 80])
def test_the_fused_optimizer_is_filled_in_where_memory_does_not_ask_for_another(facts, tuning, gpu):
    assert values_of(facts(gpu=gpu), tuning=tuning)["optim"] == "adamw_torch_fused"


def test_lion_gets_a_lower_rate_than_adamw(facts):
    assert values_of(facts(), optim="lion_8bit")["learning_rate"] == pytest.approx(1e-4)
    assert values_of(facts(), optim="muon")["learning_rate"] == 5e-4
    assert values_of(facts(), optim="lion_8bit", learning_rate=1e-3)["learning_rate"] == 1e-3


def test_a_rate_that_follows_the_validation_has_no_warmup(facts):
    values = values_of(facts(), lr_scheduler_type="reduce_lr_on_plateau")
    assert values["warmup_ratio"] == 0
    assert check(values | NAMED)


def test_a_large_batch_raises_no_rate_above_what_the_preflight_warns_of(facts):
    batch = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 64}
    assert values_of(facts(), **batch)["learning_rate"] == 1e-3


def test_early_stopping_is_on_and_regularisation_as_document_a_says(facts):
    values = values_of(facts())
    assert values["early_stopping_patience"] == 3 and values["max_grad_norm"] == 1.0


CLASHES = {
    "learning_rate": ({"size": "7B", "gpu": 80}, ["2e-05", "5e-05", "1e-4", "2e-4"]),
    "num_train_epochs": ({"rows": 1500}, ["3", "5", "8"]),
    "lora_dropout": ({}, ["0.05", "0.1", "0.2"]),
    "weight_decay": ({}, ["0.01", "0.05", "0.0001", "0.25"]),
    "max_grad_norm": ({}, ["1.0", "2.0", "0.2"]),
}
"""Where the documents disagree (KNOWHOW 8): the sentence beside the value names the figures of both sides."""


@pytest.mark.parametrize("name", sorted(CLASHES))
@pytest.mark.parametrize("language", LANGUAGES)
def test_where_documents_disagree_both_are_shown(facts, name, language):
    known, figures = CLASHES[name]
    filled = prefill(facts(**known), {})[name]
    words = say(f"reasons.{filled.reason}", language, **filled.values)
    assert all(figure in words for figure in figures), words


def test_sizes_that_no_rule_names(facts):
    for tuning in ("lora", "qlora"):
        assert values_of(facts(size="3B", gpu=24), tuning=tuning)["learning_rate"] == 2e-4
    assert values_of(facts(size="3B", gpu=80, rows=300), tuning="full")["learning_rate"] == 1e-5


def test_lora_as_document_b_says_where_nothing_was_measured(facts):
    values = values_of(facts(size="7B", gpu=80))
    assert (values["lora_r"], values["lora_alpha"], values["lora_dropout"]) == (8, 16, 0.05)
    assert values["lora_target_modules"] == ["q_proj", "v_proj"]


def test_attention_and_dropout_are_those_that_the_model_can_do(facts):
    eager = replace(model("135M"), attention=("eager",))
    assert values_of(facts(inventory=eager))["attn_implementation"] == "eager"
    experts = Module("other", "model.layers.*.mlp.experts.down_proj", (8, 576, 1536), 30)
    fused = replace(model("135M"), modules=(*model("135M").modules, experts))
    values = values_of(facts(inventory=fused))
    assert (values["lora_target_modules"], values["lora_dropout"]) == (["all-linear"], 0.0)
    assert values_of(facts(inventory=fused), lora_target_modules=["q_proj"])["lora_dropout"] == 0.05


def test_alpha_follows_a_chosen_rank(facts):
    assert values_of(facts(), lora_r=32)["lora_alpha"] == 64


@pytest.mark.parametrize(
    ("gpu", "capability", "tuning", "dtype", "mixed"),
    [
        (None, None, "lora", "float32", "no"),
        (24, (8, 9), "lora", "bfloat16", "bf16"),
        (16, (7, 5), "lora", "float16", "fp16"),
        (24, (8, 9), "full", "float32", "bf16"),
        (16, (7, 5), "full", "float32", "fp16"),
    ],
)
def test_precision_follows_the_machine(facts, gpu, capability, tuning, dtype, mixed):
    values = values_of(facts(gpu=gpu, capability=capability), tuning=tuning)
    assert (values["dtype"], values["mixed_precision"]) == (dtype, mixed)


def test_a_card_too_small_for_lora_gets_qlora(facts):
    assert values_of(facts(size="7B", gpu=24))["tuning"] == "lora"
    assert values_of(facts(size="7B", gpu=12))["tuning"] == "qlora"


@pytest.mark.parametrize(
    ("size", "gpu"), [("135M", None), ("135M", 8), ("3B", 12), ("7B", 12), ("7B", 24), ("13B", 24)]
)
def test_what_is_filled_in_fits(facts, size, gpu):
    known = facts(size=size, gpu=gpu, longest=1500, rows=1200)
    assert forecast(known, values_of(known)).memory.verdict == "fits"


def test_a_small_batch_is_made_up_for_by_accumulation(facts):
    values = values_of(facts(size="7B", gpu=24, longest=3000, rows=1200))
    assert values["per_device_train_batch_size"] < 16 and values["gradient_checkpointing"]
    assert effective_batch_size(values) == 16


def test_a_chosen_device_batch_keeps_the_effective_one(facts):
    values = values_of(facts(), per_device_train_batch_size=2)
    assert (values["per_device_train_batch_size"], values["gradient_accumulation_steps"]) == (2, 4)


def test_length_comes_from_the_data_and_stays_within_the_model(facts):
    assert values_of(facts(longest=180))["max_length"] == 192
    assert values_of(facts(longest=9000))["max_length"] == 4096
    assert values_of(facts(longest=9000, max_positions=2048))["max_length"] == 2048


@pytest.mark.parametrize("rows", [10, 50, 300, 5000])
@pytest.mark.parametrize("intention", ["quick", "balanced", "careful"])
def test_a_run_leaves_at_least_two_checkpoints_and_a_curve(facts, rows, intention):
    values = values_of(facts(rows=rows), intention=intention)
    steps = steps_of(values, rows)
    assert steps // values["save_steps"] >= 2 and values["eval_steps"] <= steps
    assert steps / values["logging_steps"] <= 300


def test_intervals_follow_a_chosen_number_of_steps(facts):
    values = values_of(facts(), max_steps=20)
    assert (values["save_steps"], values["eval_steps"], values["logging_steps"]) == (5, 5, 1)


def test_intentions_move_the_length(facts):
    steps = [steps_of(values_of(facts(rows=3000), intention=i), 3000) for i in ("quick", "balanced", "careful")]
    assert steps == sorted(steps) and steps[0] == 60 and steps[1] < steps[2]


def test_chosen_values_stand_and_have_no_reason(facts):
    values, reasons = complete({**NAMED, "learning_rate": "3e-6", "num_train_epochs": 1}, facts())
    assert (values["learning_rate"], values["num_train_epochs"]) == (3e-6, 1)
    assert "learning_rate" not in reasons


def test_every_value_says_why_in_both_languages(facts):
    cases = [
        facts(),
        facts(variety=0.1),
        facts(size="7B", gpu=80, variety=0.1),
        facts(size="7B", gpu=12, rows=1500),
        facts(size="7B", gpu=80, rows=5000, variety=0.95),
        facts(rows=800, variety=0.95),
        facts(size="13B", gpu=24, longest=6000, capability=(7, 5)),
    ]
    for known in cases:
        for tuning in ("lora", "qlora", "full"):
            for name, filled in prefill(known, {"tuning": tuning}).items():
                assert has(f"reasons.{filled.reason}"), (name, filled.reason)
                assert filled.source, name
                for language in LANGUAGES:
                    assert "{" not in say(f"reasons.{filled.reason}", language, **filled.values)


def test_without_an_inspection_the_form_is_still_whole(facts):
    from studio.advisor.facts import facts_from

    known = facts_from(None, machine=facts().machine, rows=None)
    values, _ = complete(NAMED, known)
    assert check(values) == values
    assert set(values) == {parameter.name for parameter in parameters("sft") if parameter.applies_to(values)}


def test_held_out_rows_are_counted_as_the_trainer_does():
    from trainers.rows.data import held_out

    for rows in (2, 9, 10, 11, 105, 1000):
        for share in (0.0, 0.1, 0.25):
            train, held = held_out(rows, share, seed=1)
            values = {"validation_split": share}
            assert (training_rows(values, rows), validation_rows(values, rows)) == (len(train), len(held))


def test_a_data_set_with_validation_rows_of_its_own_gives_up_no_others(facts):
    share, none = {"validation_split": 0.1}, {"validation_split": 0.0}
    assert (training_rows(share, 90, 7), validation_rows(share, 90, 7)) == (90, 7)
    assert (training_rows(none, 90, 7), validation_rows(none, 90, 7)) == (90, 0)
    chosen = {**NAMED, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "num_train_epochs": 1}
    own, split_off = facts(rows=100, validation_rows=25), facts(rows=100)
    for known, steps in ((own, 100), (split_off, 90)):
        values, _ = complete(chosen, known)
        plan = forecast(known, values)
        found = measures(known, values, plan)
        assert (plan.steps, found["validation_rows"]) == (steps, 25 if known is own else 10)


def test_it_answers_while_a_form_is_being_changed(facts):
    import time

    known = facts(size="7B", gpu=24, longest=3000)
    prefill(known, {})
    started = time.perf_counter()
    prefill(known, {})
    assert time.perf_counter() - started < 0.2


def test_the_reward_that_was_tried_last_is_filled_in_where_a_method_learns_from_one(facts):
    tried = {"rewards": [{"name": "exact_match", "weight": 1.0}]}
    known = facts(reward=tried)
    filled = prefill(known, {**NAMED, "method": "grpo"})["rewards"]
    assert (filled.value, filled.reason) == (tried, "reward_tried")
    assert "rewards" not in prefill(known, NAMED) and "rewards" not in prefill(facts(), {**NAMED, "method": "grpo"})
    own = {"rewards": [{"name": "length", "weight": 1.0}]}
    assert "rewards" not in prefill(known, {**NAMED, "method": "grpo", "rewards": own})


def test_attention_is_spelled_in_the_models_own_names(facts):
    values = values_of(facts(), lora_target_modules="attention")
    assert values["lora_target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize("tuning", ["ia3", "ln_tuning", "prompt_tuning", "p_tuning", "prefix_tuning", "bottleneck"])
def test_ways_of_tuning_with_few_weights_have_rates_of_their_own(facts, tuning):
    measured = {each["tuning"][0]: each for each in recipes()["measured"] if "sft" in each["method"]}
    for size in ("135M", "7B"):
        values, reasons = complete({**NAMED, "tuning": tuning}, facts(size))
        rule = recipes()["tuning_rates"][tuning]
        rule = measured.get(tuning, rule) if size == "135M" else rule
        assert values["learning_rate"] == rule["learning_rate"] and reasons["learning_rate"].source == rule["source"]
    assert not values["gradient_checkpointing"] or tuning != "prefix_tuning"


def test_without_any_reward_a_run_that_needs_one_is_refused_and_told_where_to_get_it(facts):
    spec = {**NAMED, "method": "grpo"}
    with pytest.raises(SpecRefused) as refused:
        complete(spec, facts())
    assert [(fault.field, fault.code) for fault in refused.value.faults] == [("rewards", "reward.none_yet")]
    tried = {"rewards": [{"name": "exact_match", "weight": 1.0}]}
    assert complete(spec, facts(reward=tried))[0]["rewards"] == tried


REWARDED = NAMED | {"rewards": [{"name": "json"}]}


@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_a_policy_is_held_only_to_what_it_has_learned_before(facts, method):
    for was_tuned, beta in ((False, 0.0), (True, 0.001)):
        values, reasons = complete(REWARDED | {"method": method}, facts(was_tuned=was_tuned))
        assert values["beta"] == beta and reasons["beta"].source == "D"
        words = [say(f"reasons.{reasons['beta'].reason}", language) for language in LANGUAGES]
        assert all(each.startswith(f"{beta:g}") for each in words)
    assert complete(REWARDED | {"method": method, "beta": 0.05}, facts(was_tuned=True))[0]["beta"] == 0.05


def test_pairs_keep_the_beta_of_their_loss_and_a_target_the_weight_that_it_moves(facts):
    assert values_of(facts(), method="dpo")["beta"] == 0.1
    assert complete(REWARDED | {"method": "ppo", "kl_target": 6.0}, facts())[0]["beta"] == 0.05, (
        "from 0 it could never rise"
    )


UNLIKE, ALIKE = Lengths(mean=40, p95=60, p99=70, longest=80), Lengths(mean=58, p95=60, p99=60, longest=60)
LONG = Lengths(mean=400, p95=600, p99=700, longest=800)


@pytest.mark.parametrize(
    ("known", "chosen", "joins"),
    [
        ({"lengths": UNLIKE}, {}, True),
        ({"lengths": ALIKE}, {}, False),
        ({"lengths": LONG}, {}, False),
        ({"lengths": UNLIKE}, {"per_device_train_batch_size": 1}, False),
        ({"lengths": UNLIKE}, {"adversarial": "fgm"}, False),
        ({"lengths": UNLIKE}, {"neftune_noise_alpha": 5}, False),
        ({"lengths": UNLIKE}, {"tuning": "prompt_tuning"}, False),
        ({"lengths": UNLIKE}, {"label_smoothing_factor": 0.1}, True),
    ],
)
def test_rows_lie_behind_each_other_where_that_saves_more_than_it_costs(facts, known, chosen, joins):
    assert values_of(facts(**known), **chosen)["padding_free"] is joins


@pytest.mark.parametrize("is_installed", [False, True])
def test_flash_attention_is_filled_in_where_it_is_installed_and_then_long_rows_are_joined_too(facts, is_installed):
    known = facts(gpu=80, lengths=LONG)
    known = replace(known, machine=replace(known.machine, has_flash_attention=is_installed))
    values = values_of(known)
    assert values["attn_implementation"] == ("flash_attention_2" if is_installed else "sdpa")
    assert values_of(known, gradient_accumulation_steps=1)["padding_free"] is is_installed
    assert values_of(known, dtype="float32", mixed_precision="no")["attn_implementation"] == "sdpa"


def test_old_rows_that_are_mixed_in_take_steps_too(facts):
    """As many as `trainers.continual.old_rows.replayed` adds: a fifth of all is a quarter of the new ones."""
    named = {"validation_split": 0, "num_train_epochs": 1, "per_device_train_batch_size": 8}
    alone = values_of(facts(), **named, gradient_accumulation_steps=1)
    replayed = alone | {"continual": "replay", "replay_ratio": 0.2}
    assert (steps_of(alone, 320), steps_of(replayed, 320)) == (40, 50)


@pytest.mark.parametrize(("size", "gpu"), [("7B", 12), ("13B", 24)])
def test_eight_bits_may_be_chosen_where_compressed_weights_were_filled_in(facts, size, gpu):
    known = facts(size=size, gpu=gpu)
    values, reasons = complete({**NAMED, "load_in_8bit": True}, known)
    assert (values["tuning"], values["load_in_8bit"], reasons["tuning"].reason) == ("qlora", True, "tuning_qlora")
    four, _ = complete(NAMED, known)
    assert four["tuning"] == "qlora" and memory_of(known, values).resting_bytes > memory_of(known, four).resting_bytes


def test_eight_bits_are_refused_where_nothing_is_compressed(facts):
    with pytest.raises(SpecRefused) as refused:
        complete({**NAMED, "load_in_8bit": True}, facts(size="7B", gpu=48))
    assert [(fault.field, fault.code) for fault in refused.value.faults] == [("load_in_8bit", "spec.no_effect")]
