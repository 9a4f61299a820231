"""Presets hold the documents' exact values, within the parameter tables' bounds."""

import pytest

from studio.advisor.complete import complete, with_preset
from studio.advisor.presets import presets, presets_for
from studio.errors import SpecRefused
from studio.messages import LANGUAGES
from studio.params.table import METHODS, check, effective_batch_size, find_fault, parameters

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
def test_a_preset_makes_a_legal_spec(tuning):
    for preset in presets_for("sft"):
        check(
            {**NAMED, "tuning": tuning, **preset.resolved(method="sft", tuning=tuning, per_device_train_batch_size=4)}
        )


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
    assert "lora_dropout" not in small.resolved(method="sft", tuning="full", per_device_train_batch_size=8)


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
