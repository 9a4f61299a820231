"""Each alarm fires on curves past its limits and is silent just before them; a good run is silent however noisy."""

import numpy as np
import pytest

from studio.alarms.curves import Curve, curve
from studio.alarms.watching import rules, watch
from studio.messages import LANGUAGES, has
from studio.params.methods import METHODS
from studio.params.table import parameters

REWARDS = [{"name": "json", "weight": 1.0}, {"name": "contains", "texts": ["a"], "weight": 1.0}]
COUNT = 40


def settings(method: str, **changed):
    """Every parameter at its default."""
    own = {parameter.name: parameter.default for parameter in parameters(method)}
    rewards = {"rewards": REWARDS} if METHODS[method].answers_itself else {}
    return own | rewards | {"method": method, "tuning": "lora", "beta": 0.02} | changed


def line(start: float, end: float | None = None, count: int = COUNT) -> Curve:
    """From `start` straight to `end`."""
    return curve(range(1, count + 1), np.linspace(start, start if end is None else end, count))


def steps_up(before: float, after: float, count: int = COUNT) -> Curve:
    """One level in the first half, another in the second: its early and late medians are these."""
    return curve(range(1, count + 1), np.repeat([before, after], count // 2))


def good(method: str) -> dict[str, Curve]:
    """A run as one wishes it: the reward climbs, the model moves a little, answers stay as long as they were."""
    if method in ("dpo", "cpo", "kto"):
        return {
            "loss": line(0.69, 0.4),
            "rewards/margins": line(0, 1.5),
            "rewards/accuracies": line(0.5, 0.9),
            "logps/chosen": line(-60, -64),
            "rewards/chosen": line(0, -0.08),
            "logps/rejected": line(-60, -90),
        }
    return {
        "reward": line(0.4, 1.5),
        "rewards/json/mean": line(0.2, 0.8),
        "rewards/contains/mean": line(0.2, 0.7),
        "kl": line(0, 0.1 if method != "ppo" else 3),
        "completions/mean_length": line(30, 36),
        "completions/clipped_ratio": line(0.3, 0.1),
        "completions/alike": line(0.05, 0.1),
        "entropy": line(1.2, 0.5),
        "frac_reward_zero_std": line(0.3, 0.5),
        "value_loss": line(0.5, 0.2),
        "explained_variance": line(0, 0.6),
        "eval_reward": curve([10, 20, 30, 40], [0.4, 0.7, 1.0, 1.2]),
    }


def flat(level: float = 0.4) -> dict[str, Curve]:
    return {"reward": line(level)}


HALF_FULL = {"rewards/json/mean": line(0.3, 0.6), "rewards/contains/mean": line(0.2, 0.3)}
"""With `reward` below 1.8: more than a tenth of the best reward, which is 2, is out of reach."""
CASES = {
    "kl_explodes": ("grpo", {"kl": line(0.0, 3.0)}, {"kl": line(0.45)}),
    "kl_explodes ": ("ppo", {"kl": line(25.0)}, {"kl": line(17.0)}),
    "kl_explodes  ": ("rloo", {"kl": line(1.0)}, {"kl": line(1.0), "completions/mean_length": line(6)}),
    "kl_stuck": ("grpo", flat() | {"kl": line(0.0008)}, flat() | {"kl": line(0.0012)}),
    "entropy_collapses": (
        "grpo",
        {"entropy": steps_up(1.0, 0.09)},
        {"entropy": steps_up(1.0, 0.11)},
    ),
    "entropy_collapses ": (
        "ppo",
        {"entropy": steps_up(1.0, 0.02)},
        {"entropy": steps_up(1.0, 0.02), "reward": line(0.4, 1.75)},
    ),
    "length_grows": (
        "grpo",
        {"completions/mean_length": steps_up(10, 21)},
        {"completions/mean_length": steps_up(10, 19)},
    ),
    "length_shrinks": (
        "grpo",
        {"completions/mean_length": steps_up(20, 9)},
        {"completions/mean_length": steps_up(20, 11)},
    ),
    "cut_off_more": (
        "ppo",
        {"completions/clipped_ratio": steps_up(0.2, 0.55)},
        {"completions/clipped_ratio": steps_up(0.25, 0.5)},
    ),
    "hacked_rule": (
        "grpo",
        {"rewards/json/mean": line(0.3, 1.0), "rewards/contains/mean": steps_up(0.6, 0.3)},
        {"rewards/json/mean": line(0.3, 1.0), "rewards/contains/mean": steps_up(0.6, 0.4)},
    ),
    "hacked_held_out": (
        "grpo",
        {"eval_reward": curve([10, 20, 30, 40], [0.5, 0.9, 0.8, 0.6])},
        {"eval_reward": curve([10, 20, 30, 40], [0.5, 0.9, 0.8, 0.75])},
    ),
    "hacked_alike": (
        "grpo",
        {"completions/alike": steps_up(0.1, 0.55)},
        {"completions/alike": steps_up(0.3, 0.55)},
    ),
    "value_loss_swings": (
        "ppo",
        {"value_loss": curve(range(COUNT), [0.1, 0.1, 0.1, 1.5] * 10), "explained_variance": line(0.1)},
        {"value_loss": curve(range(COUNT), [0.1, 0.1, 0.1, 0.3] * 10), "explained_variance": line(0.1)},
    ),
    "reward_flat": ("grpo", flat(), flat() | {"reward": line(0.4, 0.6)}),
    "never_scores": (
        "rloo",
        flat(0.0) | {"rewards/json/mean": line(0), "rewards/contains/mean": line(0.01)},
        flat(0.0) | {"rewards/json/mean": line(0), "rewards/contains/mean": line(0.03)},
    ),
    "spread_none": ("grpo", {"frac_reward_zero_std": line(1.0)}, {"frac_reward_zero_std": line(0.9)}),
    "spread_lost": (
        "rloo",
        HALF_FULL | {"frac_reward_zero_std": steps_up(0.2, 1.0)},
        HALF_FULL | {"frac_reward_zero_std": steps_up(0.2, 0.9)},
    ),
    "solved": (
        "grpo",
        {"frac_reward_zero_std": steps_up(0.2, 1.0), "reward": steps_up(1.0, 1.95)},
        {"frac_reward_zero_std": steps_up(0.2, 0.9), "reward": steps_up(1.0, 1.95)},
    ),
    "margin_flat": (
        "dpo",
        {"rewards/margins": line(0.01), "rewards/accuracies": line(0.55)},
        {"rewards/margins": line(0.01, 0.05), "rewards/accuracies": line(0.55)},
    ),
    "runs_off": (
        "dpo",
        {"logps/chosen": line(-60, -110), "rewards/chosen": line(0, -0.9)},
        {"logps/chosen": line(-60, -110), "rewards/chosen": line(0, -0.5)},
    ),
}


def codes(method: str, curves: dict[str, Curve], **changed) -> list[str]:
    return [alarm.code for alarm in watch(good(method) | curves, settings(method, **changed))]


@pytest.mark.parametrize("name", CASES)
def test_it_fires_past_its_limit_and_is_silent_before_it(name):
    method, wrong, nearly = CASES[name]
    assert codes(method, wrong) == [name.strip()]
    assert name.strip() not in codes(method, nearly)


def test_every_rule_has_a_case_and_words():
    assert {rule.code for rule in rules()} == {name.strip() for name in CASES}
    for rule in rules():
        assert all(has(f"alarms.{part}.{rule.code}") for part in ("title", "seen", "why", "hint"))
        assert rule.source and set(rule.methods) <= METHODS.keys()
        assert set(rule.unless) <= {other.code for other in rules()}
    assert LANGUAGES == ("en", "zh")


@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo", "dpo", "cpo", "kto"])
def test_a_good_run_is_silent_however_noisy_and_from_its_first_point_on(method):
    for seed in range(25):
        random = np.random.default_rng(seed)
        noisy = {}
        for name, told in good(method).items():
            spread = 0.12 if "reward" in name or "ratio" in name or "alike" in name else 0.15 * told.values.std()
            noisy[name] = curve(told.steps, told.values + spread * random.normal(size=len(told)))
        assert watch(noisy, settings(method)) == [], (method, seed)
        for length in range(1, COUNT, 7):
            begun = {name: Curve(told.steps[:length], told.values[:length]) for name, told in noisy.items()}
            assert watch(begun, settings(method)) == [], (method, seed, length)


def test_examples_have_no_alarms():
    assert watch({"loss": line(9.0)}, {"method": "sft"}) == []


def test_a_length_that_a_rule_asks_for_is_no_drift():
    grown = {"completions/mean_length": steps_up(10, 40), "rewards/length/mean": line(0.2, 0.8)}
    asked = [*REWARDS, {"name": "length", "min": 30, "max": 60}]
    assert codes("grpo", grown) == ["length_grows"] and codes("grpo", grown, rewards=asked) == []


def test_what_says_it_more_exactly_stands_alone():
    stuck = flat() | {"kl": line(0.0001), "frac_reward_zero_std": line(1.0)}
    assert codes("grpo", stuck) == ["spread_none"]


def test_changes_move_a_setting_the_right_way_and_by_so_much():
    (alarm,) = watch(good("grpo") | {"kl": line(3.0)}, settings("grpo", beta=0.0001, learning_rate=2e-5))
    assert alarm.changes == ({"beta": 0.001}, {"learning_rate": 1e-5})
    (alarm,) = watch(good("grpo") | {"kl": line(3.0)}, settings("grpo", beta=0.01, learning_rate=2e-5))
    assert alarm.changes[0] == {"beta": 0.03}


def test_a_change_that_the_method_lacks_or_that_clashes_is_left_out():
    wrong = {"entropy": steps_up(1.0, 0.05)}
    (own,) = watch(good("rloo") | wrong, settings("rloo", learning_rate=2e-5))
    assert [set(change) for change in own.changes] == [{"learning_rate"}], "RLOO has no entropy bonus"
    (own,) = watch(good("rloo") | wrong, settings("rloo", learning_rate=2e-5, num_iterations=2))
    assert own.changes[0] == {"epsilon_high": 0.36}, "clipping counts from the second use of the same answers on"
    batches = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "num_generations": 4}
    (own,) = watch(good("grpo") | {"frac_reward_zero_std": line(1.0)}, settings("grpo", **batches))
    assert [set(change) for change in own.changes] == [{"temperature"}], "8 answers do not fit 4 rows"


def test_the_weight_of_the_rule_that_is_leaned_on_is_halved():
    wrong = CASES["hacked_rule"][1]
    (alarm,) = watch(good("grpo") | wrong, settings("grpo", rewards={"rewards": REWARDS, "missing": "rule"}))
    assert alarm.values["full_rule"] == "json" and alarm.values["fallen_rule"] == "contains"
    (change,) = alarm.changes
    assert change["rewards"]["rewards"][0] == {"name": "json", "weight": 0.5}
    assert change["rewards"]["missing"] == "rule" and REWARDS[0]["weight"] == 1.0


def test_what_a_resumed_run_did_again_counts_once():
    again = curve([1, 2, 3, 4, 3, 4, 5], [1, 2, 30, 40, 3, 4, float("nan")], [1, 1, 1, 1, 2, 2, 2])
    assert again.steps.tolist() == [1, 2, 3, 4] and again.values.tolist() == [1, 2, 3, 4]
