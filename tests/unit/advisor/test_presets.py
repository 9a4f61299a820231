"""Presets hold the documents' exact values, within the parameter tables' bounds."""

import pytest

from studio.advisor.complete import complete, with_preset
from studio.advisor.presets import presets, presets_for
from studio.errors import SpecRefused
from studio.messages import LANGUAGES
from studio.params.table import METHODS, check, effective_batch_size, find_fault, parameters
from studio.params.tunings import TUNINGS

NAMED = {"model_name_or_path": "m", "dataset": "d"}
OUR_WORDS = {"effective_batch_size", "dropout"}


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_a_preset_is_whole(preset):
    assert preset.source and preset.methods
    assert all(preset.title(language) for language in LANGUAGES)


@pytest.mark.parametrize("method", METHODS)
def test_names_and_both_ends_are_legal(method):
    table = {parameter.name: parameter for parameter in parameters(method)}
    for preset in presets_for(method):
        others = {each.name for other in preset.methods for each in parameters(other)}
        assert set(preset.values) <= others | OUR_WORDS
        for name, value in preset.values.items():
            if name in table:
                ends = value if isinstance(value, list) and isinstance(value[0], float | int) else [value]
                assert all(find_fault(table[name], end) is None for end in ends)


@pytest.mark.parametrize("tuning", ["lora", "qlora", "full"])
@pytest.mark.parametrize("method", ["sft", "pretrain", "classify"])
def test_a_preset_makes_a_legal_spec(method, tuning, facts):
    for preset in presets_for(method):
        spec = {**NAMED, "method": method, "tuning": preset.values.get("tuning", tuning), "preset": preset.name}
        complete(with_preset(spec, facts()), facts())


def test_every_way_of_supervised_training_and_of_tuning_has_a_preset():
    assert all(presets_for(method) for method in ("sft", "pretrain", "classify"))
    own = {preset.values.get("tuning") for preset in presets_for("sft")}
    assert own | {"lora"} >= set(TUNINGS)


def test_a_preset_of_a_tuning_chooses_it_and_sets_what_it_has(facts):
    values, _ = complete(with_preset({**NAMED, "preset": "prefix"}, facts()), facts())
    assert (values["tuning"], values["num_virtual_tokens"], values["prefix_projection"]) == ("prefix_tuning", 10, True)
    assert "lora_r" not in values


def test_the_exact_values_of_document_a_for_dpo_and_ppo():
    common = {"num_train_epochs": [3, 5], "learning_rate": [1e-6, 3e-6], "effective_batch_size": 8}
    (dpo,), (ppo,) = presets_for("dpo"), presets_for("ppo")
    assert dict(dpo.values) == common | {"beta": 0.7} and dict(ppo.values) == common | {"cliprange": 0.2}
    for method, preset in (("dpo", dpo), ("ppo", ppo)):
        found = preset.resolved(method=method, tuning="lora", per_device_train_batch_size=4)
        assert (found["learning_rate"], found["num_train_epochs"], effective_batch_size(found)) == (2e-6, 4, 8)
        rewards = {"rewards": [{"name": "json"}]} if method == "ppo" else {}
        check({**NAMED, "method": method, **rewards, **found})
    assert "beta" not in ppo.values, "DPO's coefficient is no weight of a KL divergence"


@pytest.mark.parametrize(
    ("language", "closer", "slower"), [("en", "more closely", "slowly"), ("zh", "越贴近", "拉开得慢")]
)
def test_the_help_of_beta_says_which_way_it_works(language, closer, slower):
    beta = next(parameter for parameter in parameters("dpo") if parameter.name == "beta")
    said = beta.help(language)
    assert closer in said and slower in said
    (dpo,) = presets_for("dpo")
    assert "0.1" in dpo.notes[language] and beta.default == 0.1


def test_the_exact_values_of_document_a_for_medium_data():
    medium = next(preset for preset in presets() if preset.name == "medium-sft")
    assert dict(medium.values) == {
        "num_train_epochs": [3, 5],
        "learning_rate": 3e-5,
        "effective_batch_size": 16,
        "weight_decay": 0.03,
        "dropout": 0.15,
    }


def test_the_exact_values_of_document_a():
    small = next(preset for preset in presets() if preset.name == "small-sft")
    assert dict(small.values) == {
        "num_train_epochs": [2, 3],
        "learning_rate": 1e-5,
        "effective_batch_size": 8,
        "weight_decay": 0.01,
        "dropout": 0.2,
    }
    assert small.resolved(method="sft", tuning="lora", per_device_train_batch_size=4) == {
        "num_train_epochs": 2.5,
        "learning_rate": 1e-5,
        "weight_decay": 0.01,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "lora_dropout": 0.2,
    }
    whole = small.resolved(method="sft", tuning="full", per_device_train_batch_size=8)
    assert whole["attention_dropout"] == 0.2 and "lora_dropout" not in whole, "the only dropout of Llama-like models"


def test_the_exact_values_of_document_b():
    values = {preset.name: dict(preset.values) for preset in presets()}
    assert values["lora-standard"] == {
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "lora_target_modules": ["q_proj", "v_proj"],
    }
    rates = {"7b": [2e-5, 5e-5], "13b": [1e-5, 3e-5], "70b": [5e-6, 1e-5]}
    schedules = {"7b": (0.1, "cosine"), "13b": (0.05, "linear"), "70b": (0.01, "constant_with_warmup")}
    for name, rate in rates.items():
        warmup, schedule = schedules[name]
        assert values[name] == {"learning_rate": rate, "warmup_ratio": warmup, "lr_scheduler_type": schedule}


def test_document_bs_lora_is_for_classes_too():
    assert "lora-standard" in {preset.name for preset in presets_for("classify")}


def test_a_spec_may_name_a_preset(facts):
    known = facts(rows=900)
    values, _ = complete(with_preset({**NAMED, "preset": "medium-sft", "weight_decay": 0}, known), known)
    assert (values["num_train_epochs"], values["learning_rate"], values["lora_dropout"]) == (4, 3e-5, 0.15)
    assert effective_batch_size(values) == 16
    assert values["weight_decay"] == 0, "what the spec says itself goes before"


def test_a_preset_of_lora_says_nothing_of_full_training(facts):
    spec = with_preset({**NAMED, "tuning": "full", "preset": "lora-standard"}, facts())
    assert spec == {**NAMED, "tuning": "full"}


def test_an_unknown_preset_is_refused_with_those_there_are(facts):
    with pytest.raises(SpecRefused) as refused:
        with_preset({**NAMED, "preset": "smal-sft"}, facts())
    assert "small-sft" in refused.value.message() and "dpo" not in refused.value.message()
