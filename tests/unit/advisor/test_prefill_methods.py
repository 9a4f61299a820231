"""What is filled in for methods that learn what is better, and that every value of every method says why."""

import pytest

from studio.advisor.complete import complete
from studio.advisor.prefill import prefill
from studio.messages import LANGUAGES, say
from studio.params.table import METHODS, effective_batch_size

NAMED = {"model_name_or_path": "m", "dataset": "d"}


@pytest.mark.parametrize(
    ("rows", "intention", "epochs"),
    [(300, "balanced", 3), (300, "careful", 3), (700, "balanced", 4), (700, "careful", 5), (1500, "balanced", 5)],
)
def test_learning_what_is_better_takes_the_epochs_at_which_both_rules_of_document_a_hold(
    facts, rows, intention, epochs
):
    for method in ("dpo", "ppo"):
        more = {"rewards": [{"name": "json"}]} if method == "ppo" else {}
        values, reasons = complete({**NAMED, "method": method, "intention": intention, **more}, facts(rows=rows))
        assert values["num_train_epochs"] == epochs and reasons["num_train_epochs"].source == "A"


def test_document_bs_schedule_follows_the_size_whatever_is_learned_from_rows(facts):
    known = facts(size="70B", rows=300, gpu=80)
    values = complete({**NAMED, "method": "dpo", "tuning": "qlora"}, known)[0]
    assert (values["warmup_ratio"], values["lr_scheduler_type"]) == (0.01, "constant_with_warmup")
    answers = complete({**NAMED, "method": "grpo", "tuning": "qlora", "rewards": [{"name": "json"}]}, known)[0]
    assert answers["lr_scheduler_type"] == "cosine", "document D: warmup and cosine"


@pytest.mark.parametrize("method", [name for name in METHODS if name != "sft"])
def test_every_value_of_every_method_says_why_and_who_says_so(facts, method):
    for known in (facts(rows=700), facts(size="7B", gpu=24, rows=3000)):
        for name, filled in prefill(known, {"method": method}).items():
            assert filled.source, name
            for language in LANGUAGES:
                words = say(f"reasons.{filled.reason}", language, **filled.values)
                assert "{" not in words and not words.startswith("reasons."), name


@pytest.mark.parametrize("rows", [100, 1500, 20_000])
def test_pairs_take_the_batch_of_document_as_template_for_any_number_of_them(facts, rows):
    for method in ("dpo", "orpo", "cpo", "kto"):
        assert effective_batch_size(complete({**NAMED, "method": method}, facts(rows=rows))[0]) == 8


def test_where_answers_are_compared_both_documents_are_shown(facts):
    spec = {**NAMED, "method": "grpo", "rewards": [{"name": "json"}]}
    values, reasons = complete(spec, facts(rows=1500))
    filled = reasons["gradient_accumulation_steps"]
    assert effective_batch_size(values) == 16 and filled.source == "A, D"
    for language in LANGUAGES:
        words = say(f"reasons.{filled.reason}", language, **filled.values)
        assert "16" in words and "8" in words
