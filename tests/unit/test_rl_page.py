"""What docs/rl.md says of a run: raised or not, PPO beside the others, and only at the form's own learning rate."""

import random

import pytest

from tests.bench.rl import page, preferences
from tests.bench.rl.filled import filled_rate, is_filled
from tests.bench.rl.paired import difference
from tests.bench.rl.results import PEER, UNTOUCHED
from tests.bench.rl.tasks import tasks

TASK, HELD_OUT = next(iter(tasks())), 200


def answers(share, *, seed=0):
    """So many of the held-out answers are right."""
    right = [float(place < share * HELD_OUT) for place in range(HELD_OUT)]
    random.Random(seed).shuffle(right)
    return right


def run(method, share, *, seed=1, rate=None, task=TASK, **changes):
    rate = rate or filled_rate("ppo" if method == PEER else method)
    line = {"task": task, "method": method, "seed": seed, "learning_rate": rate, "changes": changes, "seconds": 120.0}
    if task == preferences.NAME:
        return line | {"right": answers(share, seed=f"{method} {seed}")[: preferences.HELD_OUT]}
    both = {name: answers(share, seed=f"{method} {seed}") for name in ("by_chance", "likeliest")}
    return line | both | {"rewards": [0.1, 0.2, 0.3, 0.4, 0.5]}


def untouched(share, task=TASK):
    judged = {"right": answers(share)[: preferences.HELD_OUT]} if task == preferences.NAME else {}
    judged |= {name: answers(share) for name in ("by_chance", "likeliest")}
    return {"task": task, "method": UNTOUCHED, "seed": 0, "changes": {}, **judged}


def test_a_run_raised_the_reward_only_where_the_whole_interval_is_above_0():
    text = page.page([untouched(0.3), run("grpo", 0.6), run("grpo", 0.33, seed=2), run("rloo", 0.1)])
    rows = {
        line.split(" | ")[0:2][1] + line.split(" | ")[0]: line for line in text.split("\n") if line.startswith("| ")
    }
    assert "| raised |" in rows["1| GRPO"] and "| not certain |" in rows["2| GRPO"]
    assert "| lowered |" in rows["1| RLOO"]
    assert "Raised, by chance: GRPO in 1 of 2 seeds, RLOO in 0 of 1 seeds." in text


def test_ppo_is_held_against_each_other_method_and_trl_s_own_seed_by_seed():
    lines = [run("ppo", 0.6, seed=seed) for seed in (1, 2)] + [run("grpo", 0.2), run("rloo", 0.58), run(PEER, 0.9)]
    told = page.page([untouched(0.2), *lines, run("grpo", 0.2, seed=2), run("grpo", 0.2, seed=3)])
    rows = [line.split(" | ") for line in told.split("## Is PPO below the others?")[1].split("\n") if "| 0." in line]
    assert [(row[0], row[1]) for row in rows] == [
        ("| GRPO", "1"),
        ("| GRPO", "2"),
        ("| GRPO", "all 2"),
        ("| RLOO", "1"),
        ("| PPO of trl 1.12", "1"),
    ]
    readings = ["PPO is higher |"] * 3 + ["no difference seen |", "PPO is lower |"]
    assert [row[5] for row in rows] == readings


def test_another_rate_or_setting_stands_among_what_was_tried_and_nowhere_else():
    text = page.page([untouched(0.2), run("ppo", 0.6, rate=0.5, learning_rate=0.5), run("rloo", 0.6, temperature=1.2)])
    before, tried = text.split("## Tried")
    assert "| PPO |" not in before and "| RLOO |" not in before and "No run with the form's own rate yet." in before
    assert f"| {TASK} | PPO | 0.5 | – | 1 | 0.600 |" in tried and "| temperature 1.2 | 1 | 0.600 |" in tried


def test_a_run_whose_rate_was_named_as_the_form_would_fill_it_counts():
    rate = filled_rate("dpo")
    assert is_filled(run("dpo", 0.5, task="pairs", learning_rate=rate))
    assert not is_filled(run("dpo", 0.5, task="pairs", rate=2 * rate))
    assert not is_filled(run("dpo", 0.5, task="pairs", learning_rate=rate, beta=0.3))


def test_preferences_are_held_against_the_untouched_model_and_a_reward_model_against_chance():
    lines = [untouched(0.4, "pairs"), run("dpo", 0.8, task="pairs"), run("reward", 0.5, task="pairs")]
    told = page.page(lines).split("## Are better answers preferred?")[1].split("\n")
    rows = {line.split(" | ")[0]: line for line in told if line.startswith("| ")}
    assert rows["| DPO"].endswith("| raised |") and rows["| reward model"].endswith("| not certain |")


def test_a_difference_is_of_the_pairs_and_not_of_the_two_means():
    before = answers(0.5)
    same = difference(before, before)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    found = difference(before, answers(0.5, seed=3))
    assert found.mean == pytest.approx(0) and found.low < 0 < found.high
