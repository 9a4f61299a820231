"""Every rule is whole, has words, and fires where it should and not elsewhere."""

import pytest

from studio.advisor.complete import complete, complete_spec
from studio.advisor.forecast import forecast
from studio.advisor.preflight import SEVERITIES, measures, preflight, rules
from studio.errors import SpecRefused
from studio.messages import LANGUAGES
from studio.params.table import parameters

NAMED = {"model_name_or_path": "m", "dataset": "d"}
GIB = 2**30


def found(facts, **chosen):
    values, _ = complete({**NAMED, **chosen}, facts)
    return {finding.code: finding for finding in preflight(facts, values, forecast(facts, values))}


def test_every_rule_speaks_of_known_measures_and_fields(facts):
    known = facts()
    values, _ = complete(NAMED, known)
    names = set(measures(known, values, forecast(known, values)))
    fields = {parameter.name for parameter in parameters("sft")}
    for rule in rules():
        assert rule.severity in SEVERITIES and rule.source
        assert set(rule.when) <= names and set(rule.mend) <= fields


def test_a_recommended_run_is_clean(facts):
    assert found(facts()) == {}


@pytest.mark.parametrize(
    ("known", "chosen", "code"),
    [
        ({"rows": 0}, {}, "no_rows"),
        ({"rows": 9}, {}, "too_few_rows"),
        ({"rows": 20}, {}, "few_rows"),
        ({"open_problems": 3}, {}, "open_problems"),
        ({}, {"validation_split": 0}, "no_validation"),
        ({}, {"max_length": 64}, "rows_cut"),
        ({"max_positions": 128}, {"max_length": 256}, "beyond_positions"),
        ({"size": "70B"}, {}, "does_not_fit"),
        ({"size": "7B", "gpu": 24}, {"tuning": "full"}, "does_not_fit"),
        ({"disk_free_bytes": GIB}, {}, "disk_full"),
        ({}, {"save_steps": 100000}, "never_saved"),
        ({}, {"eval_steps": 100000}, "never_validated"),
        ({}, {"learning_rate": 0.01}, "rate_high"),
        ({"has_chat_template": False}, {}, "no_template"),
        ({"gpu": 16, "capability": (7, 5)}, {"dtype": "bfloat16", "mixed_precision": "bf16"}, "no_bf16"),
        ({}, {"dtype": "bfloat16"}, "short_on_cpu"),
        ({}, {"tuning": "qlora"}, "four_bit_on_cpu"),
        ({}, {"curriculum": "easy_to_hard"}, "no_difficulty"),
        ({}, {"attn_implementation": "flash_attention_2", "dtype": "bfloat16"}, "flash_on_cpu"),
    ],
)
def test_a_rule_fires_with_words(facts, known, chosen, code):
    findings = found(facts(**known), **chosen)
    assert code in findings
    for language in LANGUAGES:
        words = findings[code].message(language)
        assert "{" not in words and not words.startswith(("advice.", "errors."))


def test_all_rules_have_words_in_both_languages():
    from studio.messages import catalogue

    for rule in rules():
        key = f"{'errors.preflight' if rule.severity == 'error' else 'advice'}.{rule.code}"
        assert all(key in catalogue(language) for language in LANGUAGES), key


class Named:
    """The parts of a data set's summary that completing reads."""

    def __init__(self, rows):
        self.training_rows, self.validation_rows, self.problems, self.has_difficulty = rows, 0, 0, False


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
